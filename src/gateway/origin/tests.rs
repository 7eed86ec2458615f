use std::collections::BTreeMap;
use std::task::{Context, Poll, Waker};

use figment::providers::{Format, Toml};

use super::*;
use crate::gateway::config::{OriginConfig, RouteConfig, ServiceConfig};
use crate::telemetry::metrics::{Metrics, Names};

/// The connections to a service that may have none, so that everybody waits.
fn pool() -> Rc<Pool> {
    let defaults = figment::Figment::from(Toml::string(include_str!("../../../config/default.toml")));
    let origin: OriginConfig = defaults.extract_inner("origin").unwrap();
    let service = ServiceConfig { url: Some("http://127.0.0.1:1".into()), ..ServiceConfig::default() };
    let services = BTreeMap::from([("api".to_owned(), service)]);
    let route = RouteConfig { path: Some("/**".into()), service: Some("api".into()), ..RouteConfig::default() };
    let plan = Plan::new(&crate::gateway::test_config(), &origin, &services, &[route]).unwrap();
    let shard = Metrics::new(Names { services: plan.service_names(), ..Names::default() }).shard();
    Pool::new(Arc::new(plan), 0, Clock::System, shard)
}

fn poll<F: Future>(waiter: Pin<&mut F>) -> Poll<F::Output> {
    waiter.poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test]
async fn who_leaves_when_a_connection_comes_free_passes_it_on() {
    let pool = pool();
    let mut first = Box::pin(pool.wait());
    let mut second = Box::pin(pool.wait());
    assert!(poll(first.as_mut()).is_pending() && poll(second.as_mut()).is_pending());
    pool.wake_one();
    drop(first);
    assert!(matches!(poll(second.as_mut()), Poll::Ready(Ok(()))));
}

#[tokio::test]
async fn who_was_told_and_went_on_passes_nothing_on() {
    let pool = pool();
    let mut first = Box::pin(pool.wait());
    let mut second = Box::pin(pool.wait());
    assert!(poll(first.as_mut()).is_pending() && poll(second.as_mut()).is_pending());
    pool.wake_one();
    assert!(matches!(poll(first.as_mut()), Poll::Ready(Ok(()))));
    drop(first);
    assert!(poll(second.as_mut()).is_pending());
}

#[tokio::test]
async fn who_gave_up_leaves_no_trace_though_no_connection_ever_comes_free() {
    let pool = pool();
    for _ in 0..1000 {
        assert!(poll(Box::pin(pool.wait()).as_mut()).is_pending());
    }
    assert!(pool.waiting.borrow().len() <= 1);
}
