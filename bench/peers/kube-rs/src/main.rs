//! A peer of bench/synced.py: a kube-rs reflector on Services, without managedFields, annotations and status.
//!
//!     kube-rs [--streaming]    with --streaming the first list is streamed (WatchList)
//!
//! It prints "synced COUNT SECONDS", counted from its first request, and stays until its input ends.

use std::{error::Error, io, process, time::Instant};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Service;
use kube::{
    Api, Client, Config,
    runtime::{WatchStreamExt, reflector, watcher},
};

fn strip(service: &mut Service) {
    service.metadata.managed_fields = None;
    service.metadata.annotations = None;
    service.status = None;
}

async fn run(streaming: bool) -> Result<(), Box<dyn Error>> {
    let services: Api<Service> = Api::all(Client::try_from(Config::incluster()?)?);
    let mut config = watcher::Config::default();
    if streaming {
        config = config.streaming_lists();
    }
    let (store, writer) = reflector::store();
    let began = Instant::now();
    let reflected = watcher(services, config).modify(strip).reflect(writer);
    tokio::spawn(reflected.for_each(|event| async {
        if let Err(error) = event {
            eprintln!("{error}");
            process::exit(1);
        }
    }));
    store.wait_until_ready().await?;
    println!("synced {} {:.4}", store.state().len(), began.elapsed().as_secs_f64());
    io::copy(&mut io::stdin(), &mut io::sink())?; // the stream goes on in another thread
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let streaming = std::env::args().any(|argument| argument == "--streaming");
    tokio::runtime::Runtime::new()?.block_on(run(streaming))
}
