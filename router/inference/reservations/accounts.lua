-- Opens the accounts of organizations, and knows which routers live. See accounts.py for the protocol.
--
-- ARGV[1], msgpack: one of
--   {'server', run_id}            which run of the server this is; what another run has left is not believed
--   {'beat', life, ttl_ms, held_ms, run_id}   this router lives; returns {lived, lives, {org, generation, ...} being opened}.
--       What a dead one held it holds for `held_ms`, unless its journal is read: it may have answered that, and told nobody
--   {'leave', life, recorded, held_ms}   it stops, and has settled everything; `recorded` is 1 where the database has its rows
--   {'bury', life, {org, ...}}    it is dead, and what its journal had, of these organizations, is in the database: its accounts
--       are opened anew, and what it had told counts no more
--   {'begin', org, seen}          a new generation, unless there is another than `seen` already; returns it
--   {'look', org, life}           returns {generation or 0, 1 if it is open}
--   {'join', org, generation, {field, usd, pico, ...}, {limit, running, ...}, teller, {field, usd, pico, ...}}   what this router
--       holds in the new generation, how many requests run, and what it had last heard to be settled
--   {'joined', org, generation, life, number, budgets, was_away}   all its rows from before are in the database; returns {0} but to
--       one router, once all have joined: {1, {number, ...} of all routers, {{number, field, usd, pico, held_usd, held_pico}, ...}
--       told by those that are dead, {{field, usd, pico}, ...} heard to be settled before Redis lost it}; and {2} where the
--       generation is open or no more.
--       `budgets` stands for those that it knows: where the routers do not know the same ones, the next generation begins.
--       `was_away` is 1 where others may have taken it for dead
--   {'open', org, generation, {field, usd, pico, ...}, {field, usd, pico, ...}, {field, usd, pico, ...}}   what is settled, what
--       the dead hold, and what of the settled is in no row and told by no router; returns 1 where that opened it
local PICO = 1e12
local now = redis.call('TIME')
now = now[1] * 1e6 + now[2]
local op = cmsgpack.unpack(ARGV[1])

-- After a flush this Redis knows a router only when that has beaten again: until then nobody can say who lives.
local GRACE_US = 1e6
local KEPT_S = 30 * 86400
-- In the place of a life and its number: spend that a living router had heard of before Redis lost it, and that is in no row yet.
local UNKNOWN = '0'

local function begin(org, seen)
    local account = 'ih:o:' .. org
    local generation = tonumber(redis.call('HGET', account, 'g')) or 0
    if seen and generation ~= seen then return generation end
    local began = string.format('%.0f', math.max(now, generation + 1))
    local is_lost = generation == 0 or redis.call('HEXISTS', account, 'lost') == 1
    redis.call('DEL', account, account .. ':joined', account .. ':joined:by', account .. ':joined:budgets', account .. ':heard')
    redis.call('HSET', account, 'g', began, 'a', began)
    if is_lost then redis.call('HSET', account, 'lost', '1') end
    redis.call('HSET', 'ih:opening', org, began)
    return tonumber(began)
end

-- What routers have told of an organization (reservations.lua), without what `is_over` says of a life, its number and a window.
local function forget(org, is_over)
    local told = 'ih:t:' .. org
    for _, name in ipairs(redis.call('HKEYS', told)) do
        if is_over(string.match(name, '^(%d+)%.(%d+):(.*)$')) then redis.call('HDEL', told, name) end
    end
end

-- Which accounts it had, and what it told of them, is kept for when its journal has been read, which may be days later.
local function is_gone(life, held_ms)
    redis.call('ZREM', 'ih:lives', life)
    redis.call('ZADD', 'ih:dead', now + held_ms * 1000, life)
    redis.call('EXPIRE', 'ih:life:' .. life, KEPT_S)
end

local function died(life, held_ms)
    for _, org in ipairs(redis.call('SMEMBERS', 'ih:life:' .. life)) do begin(org) end
    is_gone(life, held_ms)
end

-- What it told to be settled counts on.
local function holds_no_more(life)
    redis.call('ZREM', 'ih:dead', life)
    for _, org in ipairs(redis.call('SMEMBERS', 'ih:life:' .. life)) do
        local told = 'ih:t:' .. org
        for _, name in ipairs(redis.call('HKEYS', told)) do
            if string.match(name, '^(%d+)%.') == life then
                local usd, pico = struct.unpack('<dd', redis.call('HGET', told, name))
                redis.call('HSET', told, name, struct.pack('<dddd', usd, pico, 0, 0))
            end
        end
        begin(org)
    end
end

local function forget_life(life, orgs)
    for _, org in ipairs(orgs) do
        forget(org, function(other) return other == tostring(life) end)
    end
    redis.call('ZREM', 'ih:dead', life)
    redis.call('DEL', 'ih:life:' .. life, 'ih:seen:' .. life)
end

local function is(org, generation)
    local read = redis.call('HMGET', 'ih:o:' .. org, 'g', 'r')
    return tonumber(read[1]) == generation, read[2]
end

local function add(org, amounts, settled)
    local account = 'ih:o:' .. org
    for n = 1, #amounts, 3 do
        local kept = redis.call('HGET', account, amounts[n])
        local window = {0, 0, 0, 0}
        if kept then window = {struct.unpack('<dddd', kept)} end
        for at = 1, settled and 3 or 1, 2 do
            window[at], window[at + 1] = window[at] + amounts[n + 1], window[at + 1] + amounts[n + 2]
            if window[at + 1] >= PICO then window[at], window[at + 1] = window[at] + 1, window[at + 1] - PICO end
        end
        redis.call('HSET', account, amounts[n], struct.pack('<dddd', window[1], window[2], window[3], window[4]))
    end
end

-- The most that any router had heard to be settled, before Redis lost it.
local function hear(org, heard)
    local key = 'ih:o:' .. org .. ':heard'
    for n = 1, #heard, 3 do
        local usd, pico = heard[n + 1], heard[n + 2]
        local kept = redis.call('HGET', key, heard[n])
        local most_usd, most_pico = -1, 0
        if kept then most_usd, most_pico = struct.unpack('<dd', kept) end
        if usd > most_usd or (usd == most_usd and pico > most_pico) then
            redis.call('HSET', key, heard[n], struct.pack('<dd', usd, pico))
        end
    end
    redis.call('EXPIRE', key, 3600)
end

-- {{number, window, usd, pico, held_usd, held_pico}, ...} told by routers that do not live, and whose journals have not been read.
local function told_by_the_dead(org, lives)
    local living, told = {}, {}
    for _, life in ipairs(lives) do living[life] = true end
    local kept = redis.call('HGETALL', 'ih:t:' .. org)
    for n = 1, #kept, 2 do
        local life, number, field = string.match(kept[n], '^(%d+)%.(%d+):(.*)$')
        if not living[life] then
            local usd, pico, held_usd, held_pico = struct.unpack('<dddd', kept[n + 1])
            told[#told + 1] = {tonumber(number), field, usd, pico, held_usd, held_pico}
        end
    end
    return told
end

local function heard_before(org)
    local kept, heard = redis.call('HGETALL', 'ih:o:' .. org .. ':heard'), {}
    for n = 1, #kept, 2 do
        local usd, pico = struct.unpack('<dd', kept[n + 1])
        heard[#heard + 1] = {kept[n], usd, pico}
    end
    return heard
end

local commands = {}

function commands.server(run_id)
    if redis.call('GET', 'ih:run') == run_id then return 0 end
    for _, keys in ipairs({'ih:o:*', 'ih:t:*'}) do
        for _, key in ipairs(redis.call('KEYS', keys)) do redis.call('DEL', key) end
    end
    redis.call('DEL', 'ih:lives', 'ih:dead', 'ih:opening')
    redis.call('SET', 'ih:run', run_id)
    return 1
end

function commands.beat(life, ttl_ms, held_ms, run_id)
    if redis.call('EXISTS', 'ih:lives') == 0 then redis.call('SET', 'ih:since', string.format('%.0f', now)) end
    -- After a flush: what is told from now on is of this run, and whoever connects next has to believe it.
    redis.call('SET', 'ih:run', run_id, 'NX')
    local until_us = tonumber(redis.call('ZSCORE', 'ih:lives', life))
    if not until_us then
        redis.call('PERSIST', 'ih:life:' .. life)
        redis.call('ZREM', 'ih:dead', life)
    end
    redis.call('SET', 'ih:seen:' .. life, '1', 'EX', KEPT_S)
    redis.call('ZADD', 'ih:lives', now + ttl_ms * 1000, life)
    for _, dead in ipairs(redis.call('ZRANGEBYSCORE', 'ih:lives', '-inf', string.format('%.0f', now))) do died(dead, held_ms) end
    for _, dead in ipairs(redis.call('ZRANGEBYSCORE', 'ih:dead', '-inf', string.format('%.0f', now))) do holds_no_more(dead) end
    return {until_us and until_us > now and 1 or 0, redis.call('ZCARD', 'ih:lives'), redis.call('HGETALL', 'ih:opening')}
end

function commands.leave(life, recorded, held_ms)
    is_gone(life, held_ms)
    if recorded == 1 then forget_life(life, redis.call('SMEMBERS', 'ih:life:' .. life)) end
    return 1
end

function commands.bury(life, orgs)
    for _, org in ipairs(redis.call('SMEMBERS', 'ih:life:' .. life)) do orgs[#orgs + 1] = org end
    for _, org in ipairs(orgs) do
        forget(org, function(other) return other == UNKNOWN end)
        if redis.call('EXISTS', 'ih:o:' .. org) == 1 then begin(org) end
    end
    redis.call('ZREM', 'ih:lives', life)
    forget_life(life, orgs)
    return 1
end

function commands.begin(org, seen)
    return begin(org, seen)
end

function commands.look(org, life)
    redis.call('SADD', 'ih:life:' .. life, org)
    local read = redis.call('HMGET', 'ih:o:' .. org, 'g', 'r')
    return {tonumber(read[1]) or 0, read[2] and 1 or 0}
end

function commands.join(org, generation, amounts, running, teller, heard)
    for n = 1, #amounts, 3 do
        redis.call('HSET', 'ih:t:' .. org, teller .. ':' .. amounts[n], struct.pack('<dddd', 0, 0, amounts[n + 1], amounts[n + 2]))
    end
    if not is(org, generation) then return 0 end
    add(org, amounts, false)
    if redis.call('HEXISTS', 'ih:o:' .. org, 'lost') == 1 then hear(org, heard) end
    for n = 1, #running, 2 do
        local key = 'ih:l:' .. running[n]
        local at, q, i, o, others, of_generation = now, 0, 0, 0, 0, generation
        local kept = redis.call('GET', key)
        if kept then at, q, i, o, others, of_generation = struct.unpack('<dddddd', kept) end
        if of_generation ~= generation then others = 0 end
        redis.call('SET', key, struct.pack('<dddddd', at, q, i, o, others + running[n + 1], generation), 'PX', 3600000)
    end
    return 1
end

function commands.joined(org, generation, life, number, budgets, was_away)
    redis.call('SADD', 'ih:life:' .. life, org)
    local same, opened = is(org, generation)
    if not same or opened then return {2} end
    -- All rows of its earlier numbers are in the database: what it has told of them counts no more; nor does what was told by
    -- routers that nobody has seen for so long that they will not come back.
    local seen = {}
    forget(org, function(other, its_number)
        if seen[other] == nil then seen[other] = redis.call('EXISTS', 'ih:seen:' .. other) == 1 end
        return (other == tostring(life) and its_number ~= tostring(number)) or (was_away == 1 and other == UNKNOWN)
            or not seen[other]
    end)
    local joined = 'ih:o:' .. org .. ':joined'
    redis.call('HSET', joined, life, number)
    redis.call('HSET', joined .. ':budgets', life, budgets)
    redis.call('EXPIRE', joined, 3600)
    redis.call('EXPIRE', joined .. ':budgets', 3600)
    local same_budgets = true
    local lives = redis.call('ZRANGEBYSCORE', 'ih:lives', string.format('%.0f', now), '+inf')
    for _, living in ipairs(lives) do
        local known = redis.call('HGET', joined .. ':budgets', living)
        if not known then return {0} end
        same_budgets = same_budgets and known == budgets
    end
    if not same_budgets then
        begin(org)
        return {2}
    end
    if now - (tonumber(redis.call('GET', 'ih:since')) or now) < GRACE_US then return {0} end
    if not redis.call('SET', joined .. ':by', life, 'NX', 'PX', 2000) then return {0} end
    local numbers = {}
    for n, known in ipairs(redis.call('HVALS', joined)) do numbers[n] = tonumber(known) end
    return {1, numbers, told_by_the_dead(org, lives), heard_before(org)}
end

function commands.open(org, generation, amounts, held, unknown)
    local same, opened = is(org, generation)
    if not same or opened then return 0 end
    local account, known = 'ih:o:' .. org, {}
    for n = 1, #amounts, 3 do known[string.match(amounts[n], '^(.*):')] = true end
    for _, field in ipairs(redis.call('HKEYS', account)) do
        local budget = string.match(field, '^(.*):')
        -- A router that joined later knew a budget that whoever summed up did not: it is for the next generation.
        if budget and not known[budget] then redis.call('HDEL', account, field) end
    end
    add(org, amounts, true)
    add(org, held, false)
    for budget in pairs(known) do redis.call('HSET', account, budget, '1') end
    if #unknown > 0 then redis.call('SET', 'ih:seen:' .. UNKNOWN, '1', 'EX', KEPT_S) end
    for n = 1, #unknown, 3 do
        local name = UNKNOWN .. '.0:' .. unknown[n]
        redis.call('HSET', 'ih:t:' .. org, name, struct.pack('<dddd', unknown[n + 1], unknown[n + 2], 0, 0))
    end
    redis.call('HSET', account, 'r', '1')
    redis.call('HDEL', account, 'lost')
    redis.call('HDEL', 'ih:opening', org)
    redis.call('DEL', account .. ':joined', account .. ':joined:budgets', account .. ':heard')
    return 1
end

return cmsgpack.pack(commands[op[1]](unpack(op, 2)))
