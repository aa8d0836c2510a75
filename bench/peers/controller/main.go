// A peer of bench/synced.py: a controller-runtime manager with one controller on Services, whose reconciler only looks
// the Service up in the cache.
//
// It prints "synced COUNT SECONDS" once every Service was reconciled, counted from its first request, and stays until
// its input ends.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"sync"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	metrics "sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

type reconciler struct {
	client client.Client
	lock   sync.Mutex
	seen   map[string]bool
}

func (r *reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	var service corev1.Service
	err := r.client.Get(ctx, request.NamespacedName, &service)
	r.lock.Lock()
	r.seen[request.String()] = true
	r.lock.Unlock()
	return ctrl.Result{}, client.IgnoreNotFound(err)
}

func (r *reconciler) count() int {
	r.lock.Lock()
	defer r.lock.Unlock()
	return len(r.seen)
}

func main() {
	ctrl.SetLogger(logr.Discard())
	config, err := rest.InClusterConfig()
	if err != nil {
		log.Fatal(err)
	}
	manager, err := ctrl.NewManager(config, ctrl.Options{Metrics: metrics.Options{BindAddress: "0"}})
	if err != nil {
		log.Fatal(err)
	}
	r := &reconciler{client: manager.GetClient(), seen: map[string]bool{}}
	if err := ctrl.NewControllerManagedBy(manager).For(&corev1.Service{}).Complete(r); err != nil {
		log.Fatal(err)
	}
	began := time.Now()
	go func() {
		if err := manager.Start(context.Background()); err != nil {
			log.Fatal(err)
		}
	}()
	if !manager.GetCache().WaitForCacheSync(context.Background()) {
		log.Fatal("not synced")
	}
	var services corev1.ServiceList
	if err := manager.GetClient().List(context.Background(), &services); err != nil {
		log.Fatal(err)
	}
	for r.count() < len(services.Items) {
		time.Sleep(time.Millisecond)
	}
	fmt.Printf("synced %d %.4f\n", r.count(), time.Since(began).Seconds())
	io.Copy(io.Discard, os.Stdin)
}
