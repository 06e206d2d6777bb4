-- Replaces numbers that look like those of cards in a response of text or JSON, keeping the last four digits.
local function redact(digits)
	return string.rep("*", #digits - 4) .. string.sub(digits, -4)
end

function envoy_on_response(handle)
	local kind = handle:headers():get("content-type") or ""
	if not (string.find(kind, "^text/") or string.find(kind, "^application/json")) then
		return
	end
	local body = handle:body()
	if body == nil then
		return
	end
	local text, count = string.gsub(body:getBytes(0, body:length()), "%f[%d]%d%d%d%d%d%d%d%d%d%d%d%d+%f[%D]", redact)
	if count > 0 then
		-- This sets the content's length too.
		body:setBytes(text)
		handle:streamInfo():dynamicMetadata():set("redact", "count", count)
	end
end
