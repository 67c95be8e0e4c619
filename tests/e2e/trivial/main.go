// The least that a container can do: it listens on ADDRESS (Knative's PORT without one), answers 200, and ends on SIGTERM.
package main

import (
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	address := os.Getenv("ADDRESS")
	if address == "" {
		address = ":" + os.Getenv("PORT")
	}
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM, syscall.SIGINT)
	http.HandleFunc("/", func(answer http.ResponseWriter, _ *http.Request) { answer.Write([]byte("ok\n")) })
	go func() { log.Fatal(http.ListenAndServe(address, nil)) }()
	<-ended
}
