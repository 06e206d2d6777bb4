-- The order command as a Tarantool procedure.
--
-- `tarantool.lua serve PORT` serves it on loopback; `tarantool.lua run FIBERS SECONDS` calls it in process, and prints
-- commands, seconds and the p50 and p99 of one call in microseconds. The data lie in the current folder.

local clock = require('clock')
local fiber = require('fiber')

local mode = arg[1]
box.cfg({
    listen = mode == 'serve' and '127.0.0.1:' .. arg[2] or nil,
    wal_mode = 'fsync',
    memtx_memory = 2 * 1024 ^ 3,
    checkpoint_interval = 0,
    net_msg_max = 2048,
    log_level = 'warn',
})

local function space(name)
    local made = box.schema.space.create(name)
    made:create_index('primary', { parts = { { 1, 'unsigned' } } })
    return made
end
local items, customers, orders = space('items'), space('customers'), space('orders')

for number = 0, 9999, 1000 do
    box.begin()
    for number = number, number + 999 do
        items:insert({ number, 1000000000000, 1 + number % 100 })
        customers:insert({ number, 1000000000000 })
    end
    box.commit()
end

local function refuse(why)
    box.rollback()
    error(why)
end

function order(id, customer, item, quantity)
    box.begin()
    local i, c = items:get(item), customers:get(customer)
    if i == nil or c == nil then
        refuse('no such item or customer')
    end
    if quantity < 1 or quantity > i[2] then
        refuse('not that many are in stock')
    end
    local total = quantity * i[3]
    if total > c[2] then
        refuse('the balance does not suffice')
    end
    items:replace({ item, i[2] - quantity, i[3] })
    customers:replace({ customer, c[2] - total })
    orders:insert({ id, customer, item, quantity, total })
    box.commit()
end

if mode == 'serve' then
    box.schema.func.create('order')
    box.schema.user.grant('guest', 'execute', 'function', 'order')
    box.schema.user.grant('guest', 'read,write', 'universe')
    return
end

local fibers, seconds = tonumber(arg[2]), tonumber(arg[3])
local micros, id = {}, 0
local started = clock.monotonic()
local running = {}
for number = 1, fibers do
    running[number] = fiber.new(function()
        local before = clock.monotonic()
        while before - started < seconds do
            id = id + 1
            order(id, math.random(0, 9999), math.random(0, 9999), 1)
            local after = clock.monotonic()
            table.insert(micros, (after - before) * 1e6)
            before = after
        end
    end)
    running[number]:set_joinable(true)
end
for _, one in ipairs(running) do
    assert(one:join())
end
local elapsed = clock.monotonic() - started
table.sort(micros)
local function quantile(q)
    return micros[1 + math.floor((#micros - 1) * q)]
end
print(string.format('%d %.6f %.0f %.0f', #micros, elapsed, quantile(0.5), quantile(0.99)))
os.exit(0)
