-- SPDX-License-Identifier: MIT
-- Sends the requests of a file in turn (they are separated by NUL) and prints
-- what happened as one line of JSON.

local thread_of_all

function setup(thread)
	thread_of_all = thread
end

function init(args)
	local file = assert(io.open(args[1], "rb"))
	local text = file:read("*a")
	file:close()
	list = {}
	sent = 0
	local from = 1
	while true do
		local to = text:find("\0", from, true)
		list[#list + 1] = text:sub(from, (to or 0) - 1)
		if not to then break end
		from = to + 1
	end
end

function request()
	sent = sent + 1
	return list[(sent - 1) % #list + 1]
end

function done(summary, latency, requests)
	local e = summary.errors
	io.write(string.format('bench: {"requests": %d, "seconds": %.6f, ' ..
		'"sent": %d, "p50_us": %.0f, "p99_us": %.0f, ' ..
		'"max_us": %.0f, "errors": %d}\n', summary.requests,
		summary.duration / 1e6, thread_of_all:get("sent"),
		latency:percentile(50), latency:percentile(99), latency.max,
		e.connect + e.read + e.write + e.status + e.timeout))
end
