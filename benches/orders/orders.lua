-- The order command and what it needs; guest/src/lib.rs has the same in Rust, function by function.

-- So much of everything that no order of a bench is refused.
local PLENTY = 1000000000000

function Stock(args)
    for number = args.first, args.first + args.count - 1 do
        host.put_value("item", { item = number }, { stock = PLENTY, price = 1 + number % 100 })
        host.put_value("customer", { customer = number }, { balance = PLENTY })
    end
end

function Order(args)
    local of_item = { item = args.item }
    local of_customer = { customer = args.customer }
    local item = host.must_exist("item", of_item)
    local customer = host.must_exist("customer", of_customer)
    if args.quantity < 1 or args.quantity > item.stock then
        host.reject("not that many are in stock")
    end
    local total = args.quantity * item.price
    if total > customer.balance then
        host.reject("the balance does not suffice")
    end

    host.update_value("item", of_item, { stock = item.stock - args.quantity, price = item.price })
    host.update_value("customer", of_customer, { balance = customer.balance - total })
    host.new_value("order", { order = args.order }, {
        customer = args.customer,
        item = args.item,
        quantity = args.quantity,
        total = total,
    })
end

function Balance(args)
    host.result({ balance = host.must_exist("customer", { customer = args.customer }).balance })
end
