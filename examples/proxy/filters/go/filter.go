// Command filter is a proxy-wasm filter written against the ABI by hand: it adds a header to responses and logs on every tick.
//
// Its configuration is the header's value; without one it refuses to start.
package main

import "unsafe"

const (
	ok       = 0
	infoLine = 2
	errLine  = 4

	responseHeaders     = 2
	pluginConfiguration = 7

	tickMillis = 1000
)

//go:wasmimport env proxy_log
func proxyLog(level int32, line string) int32

//go:wasmimport env proxy_set_tick_period_milliseconds
func proxySetTickPeriod(millis uint32) int32

//go:wasmimport env proxy_get_buffer_bytes
func proxyGetBufferBytes(buffer, start, max int32, at, size unsafe.Pointer) int32

//go:wasmimport env proxy_add_header_map_value
func proxyAddHeader(headers int32, name, value string) int32

// given holds the block that the host asked for until it is taken, so that the collector leaves it alone.
var given []byte

var value string

func main() {}

//go:wasmexport proxy_abi_version_0_2_1
func abiVersion() {}

//go:wasmexport proxy_on_memory_allocate
func allocate(size uint32) unsafe.Pointer {
	given = make([]byte, size)
	return unsafe.Pointer(unsafe.SliceData(given))
}

//go:wasmexport proxy_on_configure
func onConfigure(_, size uint32) uint32 {
	var at, length uint32
	status := proxyGetBufferBytes(pluginConfiguration, 0, int32(size), unsafe.Pointer(&at), unsafe.Pointer(&length))
	if status != ok || length == 0 {
		proxyLog(errLine, "the configuration is the value of the header")
		return 0
	}
	value = string(given[:length])
	given = nil
	proxySetTickPeriod(tickMillis)
	return 1
}

//go:wasmexport proxy_on_tick
func onTick(_ uint32) {
	proxyLog(infoLine, "a tick in Go")
}

//go:wasmexport proxy_on_response_headers
func onResponseHeaders(_, _, _ uint32) uint32 {
	proxyAddHeader(responseHeaders, "x-go", value)
	return 0
}
