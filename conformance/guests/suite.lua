-- The suite's guest in Lua: the same extensions as `guests/suite`, written as a Lua author would write them.

-- What one invocation leaves in the guest's memory, the next one must not see under `fresh`.
local calls = 0

function Echo(args)
  host.result(args)
end

function Keep(args)
  host.put_value("every", { id = 1 }, args)
end

function Copy(args)
  host.new_value("every", { id = args.to }, host.must_exist("every", { id = args.from }))
end

function Find(args)
  local row = host.get("keyed", args)
  host.put_value("keyed", args, { n = 1 })
  if row then
    -- The only field of the result.
    return row.n
  end
  host.result({})
end

local function key(args)
  return { group = args.group, n = args.n }
end

function Get(args)
  local row = host.get(args.storage, key(args))
  host.result({ v = row and row.v })
end

function Must(args)
  host.result({ v = host.must_exist(args.storage, key(args)).v })
end

function Write(args)
  local row = { v = args.v }
  if args.verb == "insert" then
    host.new_value(args.storage, key(args), row)
  elseif args.verb == "update" then
    host.update_value(args.storage, key(args), row)
  elseif args.verb == "put" then
    host.put_value(args.storage, key(args), row)
  else
    host.delete(args.storage, key(args))
  end
end

function Range(args)
  host.read(args.storage, { group = args.group }, function(key, row)
    host.result({ group = key.group, n = key.n, v = row.v })
  end)
end

function Count(args)
  local rows = 0
  host.read(args.storage, { group = args.group }, function()
    rows += 1
  end)
  host.result({ rows = rows })
end

function Nest(args)
  local visits = 0
  local function descend(depth)
    if depth == 0 then
      visits += 1
      return
    end
    host.read("open", { group = "nest" }, function()
      descend(depth - 1)
    end)
  end
  descend(args.depth)
  host.result({ visits = visits })
end

function Many(args)
  local v = string.rep("x", args.bytes)
  for n = 0, args.n - 1 do
    host.put_value("open", { group = "many", n = n }, { v = v })
  end
end

function Rows(args)
  local v = string.rep("x", args.bytes)
  for _ = 1, args.n do
    host.result({ v = v })
  end
end

function Reads(args)
  for n = 0, args.n - 1 do
    host.get("open", { group = "reads", n = n })
  end
end

local function recurse(n)
  return n == 0 and 0 or 1 + recurse(n + 1)
end

local ways = {
  nothing = function() end,
  reject_at_length = function() host.reject(string.rep("é", 50000)) end,
  reject = function() host.reject("no, because of NUL \0 and é") end,
  crash = function() local nothing = nil; return nothing.field end,
  must_exist = function() host.must_exist("open", { group = "absent", n = 0 }) end,
  bad_key = function() host.get("open", { group = "half a key" }) end,
  bad_prefix = function() host.read("open", { group = 5 }, function() end) end,
  io = function() host.get("broken", { group = "g", n = 0 }) end,
  io_range = function() host.read("broken", {}, function() end) end,
  denied_get = function() host.get("sealed", { group = "g", n = 0 }) end,
  denied_range = function() host.read("sealed", {}, function() end) end,
  unknown_storage = function() host.get("ghost", { group = "g", n = 0 }) end,
  reads = function()
    for _ = 1, 10 do host.get("open", { group = "g", n = 0 }) end
  end,
  faulty_then_reject = function()
    pcall(host.put_value, "read_only", { group = "g", n = 0 }, { v = "v" })
    host.reject("no")
  end,
  denied_misfit = function() host.put_value("read_only", { group = "g", n = 0 }, { v = 5 }) end,
  denied_write = function() host.put_value("read_only", { group = "g", n = 0 }, { v = "v" }) end,
  bad_value = function() host.put_value("open", { group = "g", n = 0 }, { v = 5 }) end,
  bad_write_key = function() host.put_value("open", { group = "g" }, { v = "v" }) end,
  bad_result = function() host.result({ n = "text" }) end,
  two_results = function() host.result({ n = 1 }); host.result({ n = 2 }) end,
  loop = function() while true do end end,
  memory = function()
    local kept = {}
    while true do table.insert(kept, string.rep("x", 1000) .. #kept) end
  end,
  stack = function() return recurse(1) end,
}

function Fail(args)
  calls += 1
  host.log("info", "about to fail")
  host.put_value("open", { group = "before", n = 0 }, { v = args.how })
  if args.catch then
    pcall(ways[args.how])
  else
    ways[args.how]()
  end
  host.put_value("open", { group = "after", n = 0 }, { v = args.how })
end

function Counter()
  calls += 1
  host.result({ n = calls })
end

function Log(args)
  for _ = 1, args.lines do
    host.log("warn", string.rep("x", args.bytes))
  end
end

function Context()
  local context = host.get("sys.context", {})
  host.result({
    time = context.time,
    command_id = context.command_id,
    partition = context.partition,
    offset = context.offset,
    first = host.must_exist("sys.random", { index = 0 }).bytes,
    second = host.must_exist("sys.random", { index = 1 }).bytes,
  })
end

function Check()
  local event = host.must_exist("sys.event", {})
  if event.args.count <= 0 then
    host.reject("count is not above zero")
  end
  if event.args.item == "answer" then
    host.result({})
  end
end

function Project()
  local event = host.must_exist("sys.event", {})
  host.put_value("open", { group = event.args.item, n = event.args.count }, { v = event.command })
  for _, result in event.result do
    host.put_value("open", { group = "total", n = result.total }, { v = "" })
  end
end

function Tick()
  host.new_value("open", { group = "tick", n = 0 }, { v = "" })
end

function Sneak()
  host.put_value("open", { group = "sneak", n = 0 }, { v = "" })
end

function Wait()
  local reads = 1
  while not host.get("gate", { group = "gate", n = 0 }) do
    reads += 1
  end
  host.result({ reads = reads })
end

function Retry()
  host.new_value("open", { group = "once", n = 0 }, { v = "" })
  if not host.get("gate", { group = "gate", n = 0 }) then
    error("the gate is shut")
  end
end

function Ask(args)
  local answer, words = "", nil
  for _ = 1, args.times do
    if args.catch then
      local _
      _, answer, words = pcall(host.call, args.name, args.argument)
    else
      answer, words = host.call(args.name, args.argument)
    end
    if not answer then
      break
    end
  end
  if words and not args.catch then
    host.reject(words)
  end
  host.result({ answer = answer, words = words })
end

function Spell(args)
  local answer, words = host.call("spell", args)
  if not answer then
    host.reject(words)
  end
  host.result(answer)
end
