//! Where the two faces meet, neither knowing the other: the gateway hands what holders of keys ask about their keys to the
//! management face.

use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http_body_util::Full;

use super::running::manner;
use crate::config::Settings;
use crate::gateway::self_service as gateway;
use crate::manage::Hand;
use crate::manage::self_service::{Call, Refused, SelfService};

/// The management face, as the gateway knows it.
#[derive(Debug)]
pub(super) struct Counter(SelfService);

impl Counter {
    /// What these settings switch on.
    pub(super) fn open(settings: &Settings, hand: &Hand) -> Option<Arc<dyn gateway::SelfService>> {
        // Settings with a flaw do not come this far.
        let Settings { self_service, dialects, leaks, .. } = settings;
        let made = SelfService::new(hand.clone(), manner(settings), self_service, dialects, leaks);
        made.ok().flatten().map(|made| Arc::new(Self(made)) as Arc<dyn gateway::SelfService>)
    }
}

impl gateway::SelfService for Counter {
    fn parts(&self) -> Vec<&'static str> {
        self.0.parts()
    }

    fn part(&self, host: &str, path: &str) -> Option<usize> {
        self.0.part(host, path)
    }

    fn is_open(&self, part: usize) -> bool {
        self.0.is_open(part)
    }

    fn answer<'a>(&'a self, call: gateway::Call<'a>) -> gateway::Answering<'a> {
        let gateway::Call { part, head, body, client, request_id, secret, whose, verdict } = call;
        Box::pin(self.0.answer(Call { part, head, body, client, request_id, secret, whose, verdict }))
    }

    fn word(&self, host: &str, path: &str, refused: &gateway::Refused<'_>) -> Option<Response<Full<Bytes>>> {
        let gateway::Refused { status, code, refusal, whose, client } = *refused;
        self.0.word(host, path, &Refused { status, code, refusal, whose, client })
    }
}
