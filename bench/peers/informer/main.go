// A peer of bench/synced.py: client-go's shared informer on Services.
//
//	informer            keeps whole Services, as most Go controllers do
//	informer --strip    removes managedFields, annotations and status from each before it is kept
//
// It prints "synced COUNT SECONDS", counted from its first request, and stays until its input ends.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

func strip(object any) (any, error) {
	if service, ok := object.(*corev1.Service); ok {
		service.ManagedFields, service.Annotations, service.Status = nil, nil, corev1.ServiceStatus{}
	}
	return object, nil
}

func main() {
	var options []informers.SharedInformerOption
	if slices.Contains(os.Args[1:], "--strip") {
		options = append(options, informers.WithTransform(strip))
	}
	config, err := rest.InClusterConfig()
	if err != nil {
		log.Fatal(err)
	}
	factory := informers.NewSharedInformerFactoryWithOptions(kubernetes.NewForConfigOrDie(config), 0, options...)
	informer := factory.Core().V1().Services().Informer()
	began := time.Now()
	factory.Start(context.Background().Done())
	if !cache.WaitForCacheSync(context.Background().Done(), informer.HasSynced) {
		log.Fatal("not synced")
	}
	fmt.Printf("synced %d %.4f\n", len(informer.GetStore().ListKeys()), time.Since(began).Seconds())
	io.Copy(io.Discard, os.Stdin)
}
