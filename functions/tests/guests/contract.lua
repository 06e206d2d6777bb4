-- The functions of the contract guest, in Lua.

function add(args)
    return args.a + args.b
end

function describe(args)
    local total, tags = 0, {}
    for _, entry in args.counts do
        total += entry.value
    end
    for _, tag in args.tags do
        table.insert(tags, { key = tag, value = #tag })
    end
    local far = nil
    if args.at then
        far = math.sqrt(args.at.x ^ 2 + args.at.y ^ 2) > 10
    end
    return { result = { name = args.name, total = total, far = far, tags = tags } }
end

function maybe(args)
    if args.give then
        return "here"
    end
end

function roll()
    local function block(index)
        return host.get("sys.random", { index = index }).bytes
    end
    return { result = { block(0), block(1) } }
end

function now()
    return host.get("sys.context").time
end

function call(args)
    local answer, words = host.call(args.name, args.data)
    if not answer then
        host.reject(words)
    end
    return answer
end

function say(args)
    host.log("warn", args.message)
end

function refuse(args)
    host.reject(args.message)
end

function crash()
    error("a bad day")
end
