// Command hello is a WebAssembly module with a function that takes and gives nothing, and prints.
package main

import "fmt"

func main() {}

//go:wasmexport HelloWorld
func helloWorld() {
	fmt.Println("Hello World")
}
