-- Asks the cluster `auth` about each request, and tells the server who the caller is.
-- Whoever `auth` does not know gets its answer; where `auth` cannot be reached, nobody passes.
function envoy_on_request(handle)
	local headers = handle:headers()
	local answer, body = handle:httpCall("auth", {
		[":method"] = "GET",
		[":path"] = "/user",
		[":authority"] = "auth",
		authorization = headers:get("authorization") or "none",
	}, nil, { timeout_ms = 500 })

	local status = answer[":status"]
	if status ~= "200" then
		handle:logWarn("refused: " .. status)
		handle:respond({ [":status"] = if status == "503" then "503" else "401" }, body)
	end

	-- A client's own header must not pass for ours.
	headers:replace("x-user", answer["x-user"] or "unknown")
	headers:remove("authorization")
end

function envoy_on_response(handle)
	handle:headers():replace("cache-control", "private")
end
