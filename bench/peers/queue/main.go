// A peer of bench/queue.py: client-go's work queue. It prints, for so many keys, the nanoseconds of one add, of one get
// with its done, and of one delayed add.
package main

import (
	"fmt"
	"log"
	"os"
	"strconv"
	"time"

	"k8s.io/client-go/util/workqueue"
)

func main() {
	count, err := strconv.Atoi(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	keys := make([]string, count)
	for i := range keys {
		keys[i] = fmt.Sprintf("seed-%02d/app-%05d", i%20, i)
	}
	queue := workqueue.NewTypedDelayingQueue[string]()
	each := func(work func(string)) float64 {
		began := time.Now()
		for _, key := range keys {
			work(key)
		}
		return float64(time.Since(began).Nanoseconds()) / float64(count)
	}
	add := each(queue.Add)
	take := each(func(string) {
		key, _ := queue.Get()
		queue.Done(key)
	})
	delayed := each(func(key string) { queue.AddAfter(key, time.Hour) })
	fmt.Printf("%.1f %.1f %.1f\n", add, take, delayed)
}
