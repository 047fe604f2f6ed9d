-- Takes and settles what requests reserve, several in one call, in their order.
--
-- ARGV[1], msgpack: a list of
--   {0, org, generation, hold_usd, hold_pico, cost_usd, cost_pico, input_back, output_back, {field, ...}, {rates, ...}, requests,
--       requests_back, teller}
--       settles a hold of some requests: the cost stays, the rest and the tokens and requests that were not used go back;
--       `teller` is the router and the number of its rows, `life.number`
--   {1, org, generation, hold_usd, hold_pico, input, output, {budget, ...}, {rates, ...}, needs_account, requests, teller}
--       claims one for some requests; `budget` is {field, limit_usd, limit_pico, shadow, starts_us}, `rates` is {id, shadow, requests, input tokens,
--       output tokens (each a minute), requests at once}, -1 for no bound; first everything is looked at, then everything taken
-- Returns, msgpack: for each claim in order
--   {0, {shadow rules}, {levels, ...}, now_us, {used_usd, used_pico, ...}, {settled_usd, settled_pico, ...}}   taken; a shadow
--       rule is n for budget n, -n for limit n
--   {1, n, dimension, wait_us, now_us, {levels, ...}}   limit n (from 1) refuses; wait_us is -1 where waiting does not help
--   {2, n, used_usd, used_pico, settled_usd, settled_pico, {levels, ...}}   budget n is spent: what is settled leaves no room
--   {3, n, used_usd, used_pico, settled_usd, settled_pico, {levels, ...}}   others' holds are in the way of budget n
--   {4, generation, missing}   the account is another one, is not open yet, or lacks a window
--   `levels` is {requests, input tokens, output tokens, requests under way} of a limit, the first three as below
--
-- Amounts are whole dollars and pico-dollars below one dollar, each exact in Lua's doubles. An account is the hash
-- `ih:o:<org>`: g its generation, r whether it is open, a when it was begun, the names of the budgets that were summed up when it
-- was opened, and windows (`budget:start`) of four doubles: used (settled and held) and settled. Beside it the hash `ih:t:<org>`
-- has what each router has told, `life.number:budget:start`, whichever the generation: settled, and held. Should the router die,
-- this counts until its journal has been read. A limit is the string `ih:l:<id>` of six doubles: when it was looked at, what of requests, input and output tokens
-- has not drained away yet, requests under way, and the generation that those are of. Drains are exact up to 150 million a
-- minute (2^53 / 6e7), and above that to one part in 2^53. TIME is the server's, so that routers need not agree on theirs.
local PICO, MINUTE, IDLE_MS, CERTAIN_US = 1e12, 6e7, 3600000, 6e7
local now = redis.call('TIME')
now = now[1] * 1e6 + now[2]

local function added(usd, pico, more_usd, more_pico)
    usd, pico = usd + more_usd, pico + more_pico
    if pico >= PICO then return usd + 1, pico - PICO end
    if pico < 0 then return usd - 1, pico + PICO end
    return usd, pico
end

local function above(usd, pico, limit_usd, limit_pico)
    return usd > limit_usd or (usd == limit_usd and pico > limit_pico)
end

-- A limit as it is now; `generation` for one that nobody has used lately.
local function limit_of(rates, generation)
    local seen = redis.call('GET', 'ih:l:' .. rates[1])
    local level = {now, 0, 0, 0, 0, generation}
    if not seen then return level end
    local at, q, i, o
    at, q, i, o, level[5], level[6] = struct.unpack('<dddddd', seen)
    local drained = math.max(now - at, 0)
    local left = {q, i, o}
    for n = 1, 3 do
        local rate = rates[n + 2]
        if rate >= 0 then level[n + 1] = math.max(math.min(left[n], rate * MINUTE) - drained * rate, 0) end
    end
    return level
end

local function keep(rates, level)
    redis.call('SET', 'ih:l:' .. rates[1],
        struct.pack('<dddddd', level[1], level[2], level[3], level[4], level[5], level[6]), 'PX', IDLE_MS)
end

-- Which bound of a limit a claim would break, and how long until it would not.
local function broken(rates, level, wanted)
    local which, wait_us
    for n = 1, 3 do
        local rate = rates[n + 2]
        if rate >= 0 then
            local over = level[n + 1] + wanted[n] * MINUTE - rate * MINUTE
            if over > 0 then
                if wanted[n] > rate then return n, -1 end
                local us = math.ceil(over / rate)
                if us > (wait_us or 0) then which, wait_us = n, us end
            end
        end
    end
    if which then return which, wait_us end
    if rates[6] >= 0 and level[5] + wanted[1] > rates[6] then return 4, rates[6] == 0 and -1 or 0 end
end

local function tell(org, teller, fields, usd, pico, held_usd, held_pico)
    if usd == 0 and pico == 0 and held_usd == 0 and held_pico == 0 then return end
    local told, names = 'ih:t:' .. org, {}
    for n, field in ipairs(fields) do names[n] = teller .. ':' .. field end
    local kept, written = redis.call('HMGET', told, unpack(names)), {}
    for n, name in ipairs(names) do
        local a, b, c, d = 0, 0, 0, 0
        if kept[n] then a, b, c, d = struct.unpack('<dddd', kept[n]) end
        a, b = added(a, b, usd, pico)
        c, d = added(c, d, held_usd, held_pico)
        if c < 0 then c, d = 0, 0 end -- Redis has lost the claim
        written[2 * n - 1], written[2 * n] = name, struct.pack('<dddd', a, b, c, d)
    end
    redis.call('HSET', told, unpack(written))
end

local function settle(op)
    for _, rates in ipairs(op[11]) do
        local level = limit_of(rates, op[3])
        level[2] = math.max(level[2] - op[13] * MINUTE, 0)
        level[3] = math.max(level[3] - op[8] * MINUTE, 0)
        level[4] = math.max(level[4] - op[9] * MINUTE, 0)
        if level[6] == op[3] then level[5] = math.max(level[5] - op[12], 0) end
        keep(rates, level)
    end
    local fields = op[10]
    if #fields == 0 then return end
    tell(op[2], op[14], fields, op[6], op[7], -op[4], -op[5])
    local account = 'ih:o:' .. op[2]
    local read = redis.call('HMGET', account, 'g', 'r', unpack(fields))
    if tonumber(read[1]) ~= op[3] then return end
    local written = {}
    for n, field in ipairs(fields) do
        local kept = read[n + 2]
        -- Of an open account, a window that nobody has claimed in, nor summed up, is none yet: the row of this settlement will be
        -- in its sum. Of one that is being opened it is none that was held in, and the sum that is under way leaves the row out.
        if kept or not read[2] then
            local usd, pico, settled_usd, settled_pico = 0, 0, 0, 0
            if kept then usd, pico, settled_usd, settled_pico = struct.unpack('<dddd', kept) end
            usd, pico = added(usd, pico, op[6] - op[4], op[7] - op[5])
            settled_usd, settled_pico = added(settled_usd, settled_pico, op[6], op[7])
            written[#written + 1] = field
            written[#written + 1] = struct.pack('<dddd', usd, pico, settled_usd, settled_pico)
        end
    end
    if #written > 0 then redis.call('HSET', account, unpack(written)) end
end

-- Whether a window that is not there is one of nothing: it began after the account did, and every router has held its budget
-- from then on. A budget that is newer than the account, or was soft meanwhile, is not among those that were summed up.
local function is_new(account, budget, began)
    return budget[5] > began + CERTAIN_US and redis.call('HEXISTS', account, string.match(budget[1], '^(.*):')) == 1
end

-- The windows of a claim's account, or the answer that it is not the right one.
local function windows_of(op)
    local names = {'g', 'r', 'a'}
    for _, budget in ipairs(op[8]) do names[#names + 1] = budget[1] end
    local account = 'ih:o:' .. op[2]
    local read = redis.call('HMGET', account, unpack(names))
    local generation = tonumber(read[1]) or 0
    if generation ~= op[3] or not read[2] then return nil, {4, generation, 0} end
    local windows = {}
    for n, budget in ipairs(op[8]) do
        if read[n + 3] then
            windows[n] = {struct.unpack('<dddd', read[n + 3])}
        elseif is_new(account, budget, read[3]) then
            windows[n] = {0, 0, 0, 0}
        else
            return nil, {4, generation, 1}
        end
    end
    return windows
end

local function told(levels)
    local rates = {}
    for n, level in ipairs(levels) do rates[n] = {level[2], level[3], level[4], level[5]} end
    return rates
end

local function claim(op)
    local windows, refusal, waiting = {}, nil, nil
    local shadows, levels = {}, {}
    if op[10] == 1 then
        local other
        windows, other = windows_of(op)
        if not windows then return other end
    end
    for n, rates in ipairs(op[9]) do
        levels[n] = limit_of(rates, op[3])
        if levels[n][6] ~= op[3] then levels[n][5], levels[n][6] = 0, op[3] end
        local dimension, wait_us = broken(rates, levels[n], {op[11], op[6], op[7]})
        if dimension and rates[2] == 1 then
            shadows[#shadows + 1] = -n
            levels[n].passed = true -- what it would have refused takes nothing from it
        elseif dimension then
            if not refusal or (refusal[4] >= 0 and (wait_us < 0 or wait_us > refusal[4])) then
                refusal = {1, n, dimension, wait_us, now}
            end
        end
    end
    if refusal then
        refusal[6] = told(levels)
        return refusal
    end
    for n, budget in ipairs(op[8]) do
        local window = windows[n]
        local usd, pico = added(window[1], window[2], op[4], op[5])
        if above(usd, pico, budget[2], budget[3]) then
            local settled_usd, settled_pico = added(window[3], window[4], op[4], op[5])
            local is_spent = above(settled_usd, settled_pico, budget[2], budget[3])
            local answer = {3, n, window[1], window[2], window[3], window[4], told(levels)}
            if budget[4] == 1 then
                if is_spent then shadows[#shadows + 1] = n end -- for others' holds it would have waited
            elseif is_spent then
                answer[1] = 2
                return answer
            else
                waiting = waiting or answer
            end
        end
        window.usd, window.pico = usd, pico
    end
    if waiting then return waiting end
    local written, used, settled, fields = {}, {}, {}, {}
    for n, budget in ipairs(op[8]) do
        local window = windows[n]
        written[#written + 1] = budget[1]
        written[#written + 1] = struct.pack('<dddd', window.usd, window.pico, window[3], window[4])
        used[#used + 1], used[#used + 2] = window.usd, window.pico
        settled[#settled + 1], settled[#settled + 2] = window[3], window[4]
        fields[n] = budget[1]
    end
    if #fields > 0 then tell(op[2], op[12], fields, 0, 0, op[4], op[5]) end
    if #written > 0 then redis.call('HSET', 'ih:o:' .. op[2], unpack(written)) end
    for n, rates in ipairs(op[9]) do
        local level = levels[n]
        if not level.passed then
            level[2], level[3], level[4] = level[2] + op[11] * MINUTE, level[3] + op[6] * MINUTE, level[4] + op[7] * MINUTE
            level[5] = level[5] + op[11]
        end
        keep(rates, level)
    end
    return {0, shadows, told(levels), now, used, settled}
end

local answers = {}
for _, op in ipairs(cmsgpack.unpack(ARGV[1])) do
    if op[1] == 0 then settle(op) else answers[#answers + 1] = claim(op) end
end
return cmsgpack.pack(answers)
