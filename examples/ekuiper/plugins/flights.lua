-- Functions over flights, for the rules of a stream.

-- Delays in minutes; more than a week is a mistake.
local MOST = 7 * 24 * 60

local function check(delay)
    -- Written so that it refuses NaN too.
    if delay ~= nil and not (math.abs(delay) <= MOST) then
        host.reject("a delay of " .. delay .. " minutes is out of range")
    end
    return delay
end

-- 0 for on time, 50 for one hour late, and 100 for a flight that did not leave or did not arrive.
function delay_score(args)
    local departure, arrival = check(args.dep_delay), check(args.arr_delay)
    if departure == nil or arrival == nil then
        return 100
    end
    local late = math.max(0, departure, arrival)
    return 100 * late / (late + 60)
end

function describe_flight(args)
    local flight, delay = args.carrier .. " " .. args.number, check(args.dep_delay)
    if delay == nil then
        return flight .. " was cancelled"
    elseif delay == 0 then
        return flight .. " left on time"
    end
    return string.format("%s left %g min %s", flight, math.abs(delay), if delay > 0 then "late" else "early")
end

-- An airline's two letters or digits, and a number of one to four digits.
function parse_flight(args)
    local carrier, number = string.match(args.designator, "^(%w%w) ?(%d%d?%d?%d?)$")
    if carrier == nil then
        host.reject("`" .. args.designator .. "` is not a flight such as `UA1545`")
    end
    return { result = { carrier = string.upper(carrier), number = tonumber(number) } }
end
