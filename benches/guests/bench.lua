-- The benches' guest in Lua: the same extensions as `guests/bench`, written as a Lua author would write them.

local ITEMS = 10000

function Empty()
end

function ReadOne(args)
  local item = host.must_exist("item", { id = args.item })
  if item.stock < 1 then
    host.reject("too few in stock")
  end
end

local function take_one(id)
  local item = host.must_exist("item", { id = id })
  if item.stock < 1 then
    host.reject("too few in stock")
  end
  host.update_value("item", { id = id }, { stock = item.stock - 1, price = item.price })
end

function ReadWrite(args)
  take_one(args.item)
end

function Ten(args)
  for n = args.item, args.item + 9 do
    take_one(n % ITEMS)
  end
end

function Order(args)
  local item_key = { id = args.item }
  local customer_key = { id = args.customer }
  local item = host.must_exist("item", item_key)
  local customer = host.must_exist("customer", customer_key)
  if item.stock < args.quantity then
    host.reject("too few in stock")
  end
  local total = item.price * args.quantity
  if customer.balance < total then
    host.reject("the customer has too little money")
  end
  host.update_value("item", item_key, { stock = item.stock - args.quantity, price = item.price })
  host.update_value("customer", customer_key, { balance = customer.balance - total })
  host.new_value("order", { id = args.id }, {
    customer = args.customer,
    item = args.item,
    quantity = args.quantity,
    total = total,
  })
end

function Payload(args)
  if #args.data == 0 then
    host.reject("no bytes")
  end
end

function Scan(args)
  local bytes = 0
  host.read("blob", { group = args.group }, function(_, row)
    bytes += #row.data
  end)
  return { bytes = bytes }
end

function Loop(args)
  local x = 0
  for step = 0, args.steps - 1 do
    x = step - x
  end
  return { x = x }
end
