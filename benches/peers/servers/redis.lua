#!lua name=orders
-- The order command as a Redis function: an item, a customer and an order are a hash each.

redis.register_function('stock', function(_, args)
  local first, count = tonumber(args[1]), tonumber(args[2])
  for number = first, first + count - 1 do
    redis.call('HSET', 'item:' .. number, 'stock', 1000000000000, 'price', 1 + number % 100)
    redis.call('HSET', 'customer:' .. number, 'balance', 1000000000000)
  end
  return 'OK'
end)

redis.register_function('order', function(keys, args)
  local item, customer = redis.call('HMGET', keys[1], 'stock', 'price'), redis.call('HGET', keys[2], 'balance')
  if not item[1] or not customer then
    return redis.error_reply('no such item or customer')
  end
  local stock, balance, quantity = tonumber(item[1]), tonumber(customer), tonumber(args[3])
  if quantity < 1 or quantity > stock then
    return redis.error_reply('not that many are in stock')
  end
  local total = quantity * tonumber(item[2])
  if total > balance then
    return redis.error_reply('the balance does not suffice')
  end
  redis.call('HSET', keys[1], 'stock', stock - quantity)
  redis.call('HSET', keys[2], 'balance', balance - total)
  redis.call('HSET', keys[3], 'customer', args[1], 'item', args[2], 'quantity', quantity, 'total', total)
  return 'OK'
end)
