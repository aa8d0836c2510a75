// The peer of bench/probes.py: a backend that answers at once, and Go's net/http asking it.
//
//	probes serve [DELAY]     prints the port it listens on, and answers, after a delay such as 500ms, until it is killed
//	probes ask PORT N LIMIT  asks N times, LIMIT at once, each over a connection of its own;
//	                         prints the seconds and the CPU seconds that took
package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// What the API of Prometheus answers to the query that proves what it is.
const vector = `{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[0,"1"]}]}}`

func main() {
	if len(os.Args) == 2 && os.Args[1] == "serve" {
		serve(0)
	}
	if len(os.Args) == 3 && os.Args[1] == "serve" {
		delay, err := time.ParseDuration(os.Args[2])
		if err != nil {
			log.Fatal(err)
		}
		serve(delay)
	}
	if len(os.Args) != 5 || os.Args[1] != "ask" {
		log.Fatal("usage: probes serve [DELAY] | probes ask PORT N LIMIT")
	}
	count, _ := strconv.Atoi(os.Args[3])
	limit, _ := strconv.Atoi(os.Args[4])
	ask("http://127.0.0.1:"+os.Args[2]+"/api/v1/query?query=vector(1)", count, limit)
}

func serve(delay time.Duration) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	log.Fatal(http.Serve(listener, http.HandlerFunc(func(answer http.ResponseWriter, _ *http.Request) {
		time.Sleep(delay)
		answer.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(answer, vector)
	})))
}

func ask(url string, count, limit int) {
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true, DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	for range 3 {
		began, cpu := time.Now(), spent()
		slots := make(chan struct{}, limit)
		var all sync.WaitGroup
		for range count {
			all.Go(func() {
				slots <- struct{}{}
				defer func() { <-slots }()
				one(client, url)
			})
		}
		all.Wait()
		fmt.Printf("%f %f\n", time.Since(began).Seconds(), spent()-cpu)
	}
}

func one(client *http.Client, url string) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	request, _ := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	answer, err := client.Do(request)
	if err != nil {
		log.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, 64*1024))
	if err != nil || answer.StatusCode != http.StatusOK || !bytes.Contains(body, []byte(`"resultType":"vector"`)) {
		log.Fatal("no healthy answer")
	}
}

func spent() float64 {
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Seconds()
}
