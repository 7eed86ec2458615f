-- wrk: every request with the next key of keys.csv, at its account's path. The file's name may stand behind `--`.

local threads = 0

function setup(thread)
   thread:set("number", threads)
   threads = threads + 1
end

function init(arguments)
   requests = {}
   for line in io.lines(arguments[1] or "keys.csv") do
      local secret, account = line:match("^([^,]+),(%d+)$")
      if secret then
         local path = "/api/v2/accounts/" .. account .. "/items"
         requests[#requests + 1] = wrk.format("GET", path, { Authorization = "Token " .. secret })
      end
   end
   -- Threads begin at different keys.
   at = number * 997
end

function request()
   at = at + 1
   return requests[at % #requests + 1]
end

function done(summary, latency, requests)
   local errors = summary.errors
   local broken = errors.connect + errors.read + errors.write + errors.timeout
   print(string.format("4xx and 5xx: %d, broken connections: %d", errors.status, broken))
end
