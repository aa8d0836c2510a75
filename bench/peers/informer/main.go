// A peer of bench/synced.py: client-go's shared informer on Services, as every Go controller uses it.
//
// It prints "synced COUNT SECONDS", counted from its first request, and stays until its input ends.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"time"

	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

func main() {
	config, err := rest.InClusterConfig()
	if err != nil {
		log.Fatal(err)
	}
	factory := informers.NewSharedInformerFactory(kubernetes.NewForConfigOrDie(config), 0)
	informer := factory.Core().V1().Services().Informer()
	began := time.Now()
	factory.Start(context.Background().Done())
	if !cache.WaitForCacheSync(context.Background().Done(), informer.HasSynced) {
		log.Fatal("not synced")
	}
	fmt.Printf("synced %d %.4f\n", len(informer.GetStore().ListKeys()), time.Since(began).Seconds())
	io.Copy(io.Discard, os.Stdin)
}
