use std::collections::BTreeMap;
use std::task::{Context, Poll, Waker};

use super::*;
use crate::gateway::config::{RouteConfig, ServiceConfig};
use crate::gateway::plan::Plan;
use crate::telemetry::metrics::{Metrics, Names};

/// The connections to a service at this address.
fn pool(url: &str) -> Rc<Pool> {
    let service = ServiceConfig { url: Some(url.into()), ..ServiceConfig::default() };
    let services = BTreeMap::from([("api".to_owned(), service)]);
    let route = RouteConfig { path: Some("/**".into()), service: Some("api".into()), ..RouteConfig::default() };
    let plan = Plan::new(&crate::gateway::test_config(), &crate::gateway::test_origin(), &services, &[route]).unwrap();
    let metrics = Metrics::new(Names::default());
    let series = metrics.services(&plan.service_names())[0];
    Pool::new(Arc::clone(&plan.services[0]), series, Clock::System, metrics.shard())
}

fn poll<F: Future>(waiter: Pin<&mut F>) -> Poll<F::Output> {
    waiter.poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test]
async fn who_leaves_when_a_connection_comes_free_passes_it_on() {
    let pool = pool("http://127.0.0.1:1");
    let mut first = Box::pin(pool.wait(Duration::from_secs(3)));
    let mut second = Box::pin(pool.wait(Duration::from_secs(3)));
    assert!(poll(first.as_mut()).is_pending() && poll(second.as_mut()).is_pending());
    pool.wake_one();
    drop(first);
    assert!(matches!(poll(second.as_mut()), Poll::Ready(Ok(()))));
}

#[tokio::test]
async fn who_was_told_and_went_on_passes_nothing_on() {
    let pool = pool("http://127.0.0.1:1");
    let mut first = Box::pin(pool.wait(Duration::from_secs(3)));
    let mut second = Box::pin(pool.wait(Duration::from_secs(3)));
    assert!(poll(first.as_mut()).is_pending() && poll(second.as_mut()).is_pending());
    pool.wake_one();
    assert!(matches!(poll(first.as_mut()), Poll::Ready(Ok(()))));
    drop(first);
    assert!(poll(second.as_mut()).is_pending());
}

#[tokio::test]
async fn who_gave_up_leaves_no_trace_though_no_connection_ever_comes_free() {
    let pool = pool("http://127.0.0.1:1");
    for _ in 0..1000 {
        assert!(poll(Box::pin(pool.wait(Duration::from_secs(3))).as_mut()).is_pending());
    }
    assert!(pool.waiting.borrow().len() <= 1);
}

#[tokio::test]
async fn a_kept_connection_is_looked_at_before_the_runtime_knows_that_its_origin_closed() {
    let origin = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let pool = pool(&format!("http://{}", origin.local_addr().unwrap()));
    for closes in [false, true] {
        let mut lease = pool.fresh().await.unwrap().unwrap();
        let (accepted, _) = origin.accept().unwrap();
        while !lease.link.is_alive(true) {
            tokio::task::yield_now().await;
        }
        pool.keep(lease.link);
        let accepted = Some(accepted).filter(|_| !closes);
        // Nothing was awaited since, so no event has been seen.
        assert_eq!(pool.kept(true).is_some(), !closes);
        drop(accepted);
    }
}
