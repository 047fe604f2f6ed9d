-- Opens the accounts of organizations, and knows which routers live. See accounts.py for the protocol.
--
-- ARGV[1], msgpack: one of
--   {'server', run_id}            which run of the server this is; what another run has left is not believed
--   {'beat', life, ttl_ms}        this router lives; returns {lived, lives, {org, generation, ...} that are being opened}
--   {'leave', life}               it stops, and has settled everything
--   {'bury', life}                it is dead, and what its journal had is in the database: its accounts are opened anew
--   {'begin', org, seen}          a new generation, unless there is another than `seen` already; returns it
--   {'look', org, life}           returns {generation or 0, 1 if it is open}
--   {'join', org, generation, {field, usd, pico, ...}, {limit, running, ...}}   what this router holds in the new generation
--   {'joined', org, generation, life, number, budgets}   all its rows from before are in the database; returns {1, number, ...} of
--       all routers to one of them once all have, {0} to the others and before, {2} where the generation is open or no more.
--       `budgets` stands for those that it knows: where the routers do not know the same ones, the next generation begins
--   {'open', org, generation, {field, usd, pico, ...}}   what the rows sum up to; returns 1 where that opened it
local PICO = 1e12
local now = redis.call('TIME')
now = now[1] * 1e6 + now[2]
local op = cmsgpack.unpack(ARGV[1])

-- After a flush this Redis knows a router only when that has beaten again: until then nobody can say who lives.
local GRACE_US = 1e6

local function begin(org, seen)
    local account = 'ih:o:' .. org
    local generation = tonumber(redis.call('HGET', account, 'g')) or 0
    if seen and generation ~= seen then return generation end
    local began = string.format('%.0f', math.max(now, generation + 1))
    redis.call('DEL', account, account .. ':joined', account .. ':joined:by', account .. ':joined:budgets')
    redis.call('HSET', account, 'g', began, 'a', began)
    redis.call('HSET', 'ih:opening', org, began)
    return tonumber(began)
end

-- Which accounts it had is kept for when its journal has been read, which may be days later.
local function bury(life)
    for _, org in ipairs(redis.call('SMEMBERS', 'ih:life:' .. life)) do begin(org) end
    redis.call('ZREM', 'ih:lives', life)
    redis.call('EXPIRE', 'ih:life:' .. life, 30 * 86400)
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

local commands = {}

function commands.server(run_id)
    if redis.call('GET', 'ih:run') == run_id then return 0 end
    for _, key in ipairs(redis.call('KEYS', 'ih:o:*')) do redis.call('DEL', key) end
    redis.call('DEL', 'ih:lives', 'ih:opening')
    redis.call('SET', 'ih:run', run_id)
    return 1
end

function commands.beat(life, ttl_ms)
    if redis.call('EXISTS', 'ih:lives') == 0 then redis.call('SET', 'ih:since', string.format('%.0f', now)) end
    local until_us = tonumber(redis.call('ZSCORE', 'ih:lives', life))
    redis.call('ZADD', 'ih:lives', now + ttl_ms * 1000, life)
    for _, dead in ipairs(redis.call('ZRANGEBYSCORE', 'ih:lives', '-inf', string.format('%.0f', now))) do bury(dead) end
    return {until_us and until_us > now and 1 or 0, redis.call('ZCARD', 'ih:lives'), redis.call('HGETALL', 'ih:opening')}
end

function commands.leave(life)
    redis.call('ZREM', 'ih:lives', life)
    redis.call('DEL', 'ih:life:' .. life)
    return 1
end

function commands.bury(life)
    bury(life)
    redis.call('DEL', 'ih:life:' .. life)
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

function commands.join(org, generation, amounts, running)
    if not is(org, generation) then return 0 end
    add(org, amounts, false)
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

function commands.joined(org, generation, life, number, budgets)
    redis.call('SADD', 'ih:life:' .. life, org)
    local same, opened = is(org, generation)
    if not same or opened then return {2} end
    local joined = 'ih:o:' .. org .. ':joined'
    redis.call('HSET', joined, life, number)
    redis.call('HSET', joined .. ':budgets', life, budgets)
    redis.call('EXPIRE', joined, 3600)
    redis.call('EXPIRE', joined .. ':budgets', 3600)
    local same_budgets = true
    for _, living in ipairs(redis.call('ZRANGEBYSCORE', 'ih:lives', string.format('%.0f', now), '+inf')) do
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
    local answer = {1}
    for _, known in ipairs(redis.call('HVALS', joined)) do answer[#answer + 1] = tonumber(known) end
    return answer
end

function commands.open(org, generation, amounts)
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
    for budget in pairs(known) do redis.call('HSET', account, budget, '1') end
    redis.call('HSET', account, 'r', '1')
    redis.call('HDEL', 'ih:opening', org)
    redis.call('DEL', account .. ':joined', account .. ':joined:budgets')
    return 1
end

return cmsgpack.pack(commands[op[1]](unpack(op, 2)))
