package main

import "fmt"

func main() {
	greetings := make(chan string)
	go func() {
		defer close(greetings)
		for _, name := range []string{"Gopher", "World"} {
			greetings <- "Hello, " + name + "!"
		}
	}()
	for greeting := range greetings {
		fmt.Println(greeting)
	}
}
