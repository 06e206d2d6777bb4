-- The extensions of the flights example in Lua; guest/src/lib.rs has the same in Rust, function by function.

-- Delays in minutes and distances in miles beyond this are mistakes; within it every total stays exact.
local MOST = 1000000

-- An int beyond 2^53-1 is Luau's `integer`, which does not compare with numbers; its nearest number will do here.
local function number(int)
    return if type(int) == "integer" then integer.tonumber(int) else int
end

local function check_range(name, value)
    if value ~= nil and math.abs(number(value)) > MOST then
        host.reject(name .. " is out of range")
    end
end

local function carrier_stats(carrier)
    return host.get("carrier_stats", { carrier = carrier })
        or { flights = 0, cancelled = 0, dep_delay_total = 0, dep_delay_max = nil, miles = 0 }
end

-- The flight that a validator or projector runs for, or nil where the command records none.
local function recorded_flight()
    local event = host.get("sys.event", {})
    return if event.command == "RecordFlight" then event.args else nil
end

local function airline_name(carrier)
    local airline = host.get("airline", { carrier = carrier })
    if not airline then
        host.reject("unknown carrier `" .. carrier .. "`")
    end
    return airline.name
end

function AddAirline(args)
    host.new_value("airline", { carrier = args.carrier }, { name = args.name })
end

function RecordFlight(args)
    check_range("dep_delay", args.dep_delay)
    check_range("arr_delay", args.arr_delay)
    check_range("distance", args.distance)

    host.new_value("flight", {
        carrier = args.carrier,
        flight = args.flight,
        time_hour = args.time_hour,
    }, {
        date = args.date,
        tailnum = args.tailnum,
        origin = args.origin,
        dest = args.dest,
        dep_delay = args.dep_delay,
        arr_delay = args.arr_delay,
        distance = args.distance,
    })

    -- A flight that never left has no departure delay.
    local stats = carrier_stats(args.carrier)
    stats.flights += 1
    stats.miles += args.distance
    if args.dep_delay == nil then
        stats.cancelled += 1
    else
        stats.dep_delay_total += args.dep_delay
        stats.dep_delay_max = math.max(stats.dep_delay_max or args.dep_delay, args.dep_delay)
    end
    host.put_value("carrier_stats", { carrier = args.carrier }, stats)
end

function ValidFlight()
    local flight = recorded_flight()
    if not flight then
        return
    end
    airline_name(flight.carrier)
    if flight.origin == flight.dest then
        host.reject("origin and destination are both `" .. flight.origin .. "`")
    end
    if number(flight.distance) <= 0 then
        host.reject("distance is not above zero")
    end
end

function DailyTotals()
    local flight = recorded_flight()
    if not flight then
        return
    end
    local day = host.get("day", { date = flight.date }) or { flights = 0, cancelled = 0 }
    day.flights += 1
    day.cancelled += if flight.dep_delay == nil then 1 else 0
    host.put_value("day", { date = flight.date }, day)
end

function RouteDelays()
    local flight = recorded_flight()
    if not flight then
        return
    end
    local key = { origin = flight.origin, dest = flight.dest }
    local route = host.get("route", key) or { flights = 0, arr_delay_total = 0, arr_delay_count = 0 }
    route.flights += 1
    if flight.arr_delay ~= nil then
        route.arr_delay_total += flight.arr_delay
        route.arr_delay_count += 1
    end
    host.put_value("route", key, route)
end

function CarrierReport(args)
    local name = airline_name(args.carrier)
    local stats = carrier_stats(args.carrier)
    local left = stats.flights - stats.cancelled
    host.result({
        carrier = args.carrier,
        name = name,
        flights = stats.flights,
        cancelled = stats.cancelled,
        dep_delay_total = stats.dep_delay_total,
        dep_delay_max = stats.dep_delay_max,
        miles = stats.miles,
        mean_dep_delay = if left > 0 then stats.dep_delay_total / left else nil,
    })
end

function WorstRoutes(args)
    local min_flights, limit = number(args.min_flights), number(args.limit)
    if min_flights < 0 or limit < 0 then
        host.reject("min_flights and limit must not be below zero")
    end
    local routes = {}
    host.read("route", {}, function(key, route)
        if route.flights >= min_flights and route.arr_delay_count > 0 then
            table.insert(routes, {
                origin = key.origin,
                dest = key.dest,
                flights = route.flights,
                mean_arr_delay = route.arr_delay_total / route.arr_delay_count,
            })
        end
    end)
    table.sort(routes, function(a, b)
        if a.mean_arr_delay ~= b.mean_arr_delay then
            return a.mean_arr_delay > b.mean_arr_delay
        end
        if a.origin ~= b.origin then
            return a.origin < b.origin
        end
        return a.dest < b.dest
    end)
    for i = 1, math.min(limit, #routes) do
        host.result(routes[i])
    end
end
