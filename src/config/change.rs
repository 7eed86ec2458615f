//! What differs between the settings in use and new ones, and which of it a running keyward can take over.
//!
//! Every setting is taken out of its table by name, so that a new one does not compile until somebody has said here whether a
//! reload takes it over at once or leaves it to the next start.

use super::{ReloadConfig, Settings};
use crate::gateway::config::{IdentityNames, OriginConfig, TunnelsConfig, UserKeysConfig};
use crate::keyring::config::KeysConfig;
use crate::manage::config::{DbtConfig, DialectConfig, DialectsConfig, LeaksConfig, SelfServiceConfig};
use crate::telemetry::config::{AccessLogConfig, LogConfig};
use crate::{gateway, keyring, manage, net, store};

/// The dotted keys of the settings that differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Taken over at once.
    pub at_once: Vec<String>,
    /// Left as they are until the next start.
    pub at_restart: Vec<String>,
}

impl Changes {
    const fn table(&mut self, name: &'static str) -> Table<'_> {
        Table { name, changes: self }
    }
}

impl Settings {
    /// What a running keyward uses once it was given `new`: that, but with its own in whatever waits for a restart.
    #[must_use]
    pub fn renewed(&self, mut new: Self) -> (Self, Changes) {
        let mut changes = Changes::default();
        let Self {
            server,
            admin,
            self_service,
            dialects,
            leaks,
            store,
            keyring,
            keys,
            audit,
            gateway,
            origin,
            services,
            routes,
            reload,
            access_log,
            log,
        } = self;
        changes.table("server").server(server, &mut new.server);
        changes.table("admin").admin(admin, &mut new.admin);
        changes.table("self_service").self_service(self_service, &new.self_service);
        let DialectsConfig { dbt, vultr, userplane } = dialects;
        changes.table("dialects.dbt").dbt(dbt, &new.dialects.dbt);
        changes.table("dialects.vultr").dialect(vultr, &new.dialects.vultr);
        changes.table("dialects.userplane").dialect(userplane, &new.dialects.userplane);
        changes.table("leaks").leaks(leaks, &new.leaks);
        changes.table("store").store(store, &mut new.store);
        changes.table("keyring").keyring(keyring, &mut new.keyring);
        changes.table("keys").keys(keys, &mut new.keys);
        changes.table("audit").at_once("keep", &audit.keep, &new.audit.keep);
        changes.table("gateway").gateway(gateway, &new.gateway);
        changes.table("origin").origin(origin, &new.origin);
        let names = services.keys().chain(new.services.keys().filter(|name| !services.contains_key(*name)));
        for name in names {
            changes.table("services").at_once(name, &services.get(name), &new.services.get(name));
        }
        changes.table("").at_once("routes", routes, &new.routes);
        changes.table("reload").reload(reload, &new.reload);
        changes.table("access_log").access_log(access_log, &new.access_log);
        changes.table("log").log(log, &mut new.log);
        (new, changes)
    }
}

struct Table<'a> {
    name: &'static str,
    changes: &'a mut Changes,
}

impl Table<'_> {
    fn at_once<T: PartialEq>(&mut self, key: &str, old: &T, new: &T) {
        if old != new {
            self.changes.at_once.push(dotted(self.name, key));
        }
    }

    fn at_restart<T: PartialEq + Clone>(&mut self, key: &str, old: &T, new: &mut T) {
        if old != new {
            self.changes.at_restart.push(dotted(self.name, key));
            new.clone_from(old);
        }
    }

    fn leaks(&mut self, old: &LeaksConfig, new: &LeaksConfig) {
        let LeaksConfig { path, github_keys_file, policy, reports_per_second } = old;
        self.at_once("path", path, &new.path);
        self.at_once("github_keys_file", github_keys_file, &new.github_keys_file);
        self.at_once("policy", policy, &new.policy);
        self.at_once("reports_per_second", reports_per_second, &new.reports_per_second);
    }

    fn dialect(&mut self, old: &DialectConfig, new: &DialectConfig) {
        let DialectConfig { enabled, hosts, prefix } = old;
        self.at_once("enabled", enabled, &new.enabled);
        self.at_once("hosts", hosts, &new.hosts);
        self.at_once("prefix", prefix, &new.prefix);
    }

    fn self_service(&mut self, old: &SelfServiceConfig, new: &SelfServiceConfig) {
        let SelfServiceConfig { path, hosts, changes_per_minute } = old;
        self.at_once("path", path, &new.path);
        self.at_once("hosts", hosts, &new.hosts);
        self.at_once("changes_per_minute", changes_per_minute, &new.changes_per_minute);
    }

    fn dbt(&mut self, old: &DbtConfig, new: &DbtConfig) {
        let DbtConfig { enabled, hosts, prefix, service_prefix, expires_in, accounts } = old;
        self.at_once("enabled", enabled, &new.enabled);
        self.at_once("hosts", hosts, &new.hosts);
        self.at_once("prefix", prefix, &new.prefix);
        self.at_once("service_prefix", service_prefix, &new.service_prefix);
        self.at_once("expires_in", expires_in, &new.expires_in);
        self.at_once("accounts", accounts, &new.accounts);
    }

    fn server(&mut self, old: &net::config::Config, new: &mut net::config::Config) {
        let net::config::Config {
            listen,
            tls_listen,
            http2_listen,
            proxy_protocol,
            workers,
            trusted_proxies,
            client_header,
            certificates,
            limits,
            timeouts,
        } = old;
        self.at_restart("listen", listen, &mut new.listen);
        self.at_restart("tls_listen", tls_listen, &mut new.tls_listen);
        self.at_restart("http2_listen", http2_listen, &mut new.http2_listen);
        self.at_restart("proxy_protocol", proxy_protocol, &mut new.proxy_protocol);
        self.at_restart("workers", workers, &mut new.workers);
        self.at_once("trusted_proxies", trusted_proxies, &new.trusted_proxies);
        self.at_once("client_header", client_header, &new.client_header);
        self.at_once("certificates", certificates, &new.certificates);
        self.limits(limits, &new.limits);
        self.timeouts(timeouts, &new.timeouts);
    }

    fn limits(&mut self, old: &net::config::Limits, new: &net::config::Limits) {
        let net::config::Limits {
            connections,
            connections_per_address,
            handshakes,
            requests,
            connection_requests,
            header_bytes,
            buffer_bytes,
            body_rate,
            streams,
            pending_resets,
            error_resets,
            stream_resets,
            control_frames,
        } = old;
        self.at_once("limits.connections_per_address", connections_per_address, &new.connections_per_address);
        self.at_once("limits.handshakes", handshakes, &new.handshakes);
        self.at_once("limits.requests", requests, &new.requests);
        self.at_once("limits.connection_requests", connection_requests, &new.connection_requests);
        self.at_once("limits.body_rate", body_rate, &new.body_rate);
        self.at_once("limits.pending_resets", pending_resets, &new.pending_resets);
        self.at_once("limits.error_resets", error_resets, &new.error_resets);
        self.at_once("limits.stream_resets", stream_resets, &new.stream_resets);
        self.at_once("limits.control_frames", control_frames, &new.control_frames);
        self.at_once("limits.connections", connections, &new.connections);
        self.at_once("limits.header_bytes", header_bytes, &new.header_bytes);
        self.at_once("limits.buffer_bytes", buffer_bytes, &new.buffer_bytes);
        self.at_once("limits.streams", streams, &new.streams);
    }

    fn timeouts(&mut self, old: &net::config::Timeouts, new: &net::config::Timeouts) {
        let net::config::Timeouts {
            tls_handshake,
            first_byte,
            header,
            idle,
            body_idle,
            write_stall,
            connection_age,
            drain_min,
            drain_max,
        } = old;
        self.at_once("timeouts.first_byte", first_byte, &new.first_byte);
        self.at_once("timeouts.connection_age", connection_age, &new.connection_age);
        self.at_once("timeouts.tls_handshake", tls_handshake, &new.tls_handshake);
        self.at_once("timeouts.header", header, &new.header);
        self.at_once("timeouts.idle", idle, &new.idle);
        self.at_once("timeouts.body_idle", body_idle, &new.body_idle);
        self.at_once("timeouts.write_stall", write_stall, &new.write_stall);
        self.at_once("timeouts.drain_min", drain_min, &new.drain_min);
        self.at_once("timeouts.drain_max", drain_max, &new.drain_max);
    }

    fn admin(&mut self, old: &manage::config::Config, new: &mut manage::config::Config) {
        let manage::config::Config { listen, open_bind_without_tls, chain_file, key_file } = old;
        self.at_restart("listen", listen, &mut new.listen);
        self.at_once("open_bind_without_tls", open_bind_without_tls, &new.open_bind_without_tls);
        // Whether TLS is spoken at all is a matter of the listener.
        if old.has_tls() == new.has_tls() {
            self.at_once("chain_file", chain_file, &new.chain_file);
            self.at_once("key_file", key_file, &new.key_file);
        } else {
            self.at_restart("chain_file", chain_file, &mut new.chain_file);
            self.at_restart("key_file", key_file, &mut new.key_file);
        }
    }

    fn store(&mut self, old: &store::config::Config, new: &mut store::config::Config) {
        let store::config::Config {
            url,
            listen_url,
            password_file,
            ca_file,
            folder,
            snapshot,
            fence,
            outage,
            readers,
            lookups,
            busy_timeout,
            load_timeout,
        } = old;
        self.at_restart("listen_url", listen_url, &mut new.listen_url);
        self.at_restart("password_file", password_file, &mut new.password_file);
        self.at_restart("ca_file", ca_file, &mut new.ca_file);
        self.at_restart("folder", folder, &mut new.folder);
        self.at_restart("snapshot", snapshot, &mut new.snapshot);
        self.at_restart("fence", fence, &mut new.fence);
        self.at_restart("outage", outage, &mut new.outage);
        self.at_restart("lookups", lookups, &mut new.lookups);
        self.at_restart("url", url, &mut new.url);
        self.at_restart("readers", readers, &mut new.readers);
        self.at_restart("busy_timeout", busy_timeout, &mut new.busy_timeout);
        self.at_restart("load_timeout", load_timeout, &mut new.load_timeout);
    }

    fn keyring(&mut self, old: &keyring::config::Config, new: &mut keyring::config::Config) {
        let keyring::config::Config {
            live,
            refused,
            unknown,
            unknown_for,
            warm,
            known,
            loads,
            waiting,
            usage_flush,
            callers,
            rehearsal,
        } = old;
        self.at_restart("warm", warm, &mut new.warm);
        self.at_restart("known", known, &mut new.known);
        self.at_restart("live", live, &mut new.live);
        self.at_restart("refused", refused, &mut new.refused);
        self.at_restart("unknown", unknown, &mut new.unknown);
        self.at_restart("unknown_for", unknown_for, &mut new.unknown_for);
        self.at_restart("loads", loads, &mut new.loads);
        self.at_restart("waiting", waiting, &mut new.waiting);
        self.at_restart("usage_flush", usage_flush, &mut new.usage_flush);
        self.at_restart("callers", callers, &mut new.callers);
        self.at_restart("rehearsal", rehearsal, &mut new.rehearsal);
    }

    fn keys(&mut self, old: &KeysConfig, new: &mut KeysConfig) {
        let KeysConfig { prefix, pepper_file, developer_licences, per_holder, expiry_max, on_reuse } = old;
        self.at_once("prefix", prefix, &new.prefix);
        self.at_once("on_reuse", on_reuse, &new.on_reuse);
        self.at_restart("pepper_file", pepper_file, &mut new.pepper_file);
        // The store judges by these, and what was read under them is remembered.
        self.at_restart("developer_licences", developer_licences, &mut new.developer_licences);
        self.at_restart("per_holder", per_holder, &mut new.per_holder);
        self.at_restart("expiry_max", expiry_max, &mut new.expiry_max);
    }

    fn gateway(&mut self, old: &gateway::config::Config, new: &gateway::config::Config) {
        let gateway::config::Config {
            account_mismatch,
            realm,
            body_limit,
            json_body_limit,
            filter_limit,
            empty_segments,
            semicolons,
            escaped_slashes,
            underscore_headers,
            verbose_refusals,
            expiry_notice,
            identity,
            user_keys,
            tunnels,
            on_key_end,
            stream_grace,
        } = old;
        self.at_once("account_mismatch", account_mismatch, &new.account_mismatch);
        self.at_once("realm", realm, &new.realm);
        self.at_once("body_limit", body_limit, &new.body_limit);
        self.at_once("json_body_limit", json_body_limit, &new.json_body_limit);
        self.at_once("filter_limit", filter_limit, &new.filter_limit);
        self.at_once("empty_segments", empty_segments, &new.empty_segments);
        self.at_once("semicolons", semicolons, &new.semicolons);
        self.at_once("escaped_slashes", escaped_slashes, &new.escaped_slashes);
        self.at_once("underscore_headers", underscore_headers, &new.underscore_headers);
        self.at_once("verbose_refusals", verbose_refusals, &new.verbose_refusals);
        self.at_once("expiry_notice", expiry_notice, &new.expiry_notice);
        let IdentityNames { account, user, key, kind, permissions } = identity;
        self.at_once("identity.account", account, &new.identity.account);
        self.at_once("identity.user", user, &new.identity.user);
        self.at_once("identity.key", key, &new.identity.key);
        self.at_once("identity.kind", kind, &new.identity.kind);
        self.at_once("identity.permissions", permissions, &new.identity.permissions);
        let UserKeysConfig { deprecated, sunset, brownouts, link } = user_keys;
        self.at_once("user_keys.deprecated", deprecated, &new.user_keys.deprecated);
        self.at_once("user_keys.sunset", sunset, &new.user_keys.sunset);
        self.at_once("user_keys.brownouts", brownouts, &new.user_keys.brownouts);
        self.at_once("user_keys.link", link, &new.user_keys.link);
        self.at_once("on_key_end", on_key_end, &new.on_key_end);
        self.at_once("stream_grace", stream_grace, &new.stream_grace);
        let TunnelsConfig { limit, per_key, idle, age, drain } = tunnels;
        self.at_once("tunnels.limit", limit, &new.tunnels.limit);
        self.at_once("tunnels.per_key", per_key, &new.tunnels.per_key);
        self.at_once("tunnels.idle", idle, &new.tunnels.idle);
        self.at_once("tunnels.age", age, &new.tunnels.age);
        self.at_once("tunnels.drain", drain, &new.tunnels.drain);
    }

    fn origin(&mut self, old: &OriginConfig, new: &OriginConfig) {
        let OriginConfig {
            connect,
            response_header,
            body_idle,
            keepalive_idle,
            connections,
            waiting,
            buffer_bytes,
            response_header_bytes,
            preserve_host,
            retry,
            signing_key_file,
            signing_key_id,
            signature_lifetime,
        } = old;
        self.at_once("connect", connect, &new.connect);
        self.at_once("response_header", response_header, &new.response_header);
        self.at_once("body_idle", body_idle, &new.body_idle);
        self.at_once("keepalive_idle", keepalive_idle, &new.keepalive_idle);
        self.at_once("connections", connections, &new.connections);
        self.at_once("waiting", waiting, &new.waiting);
        self.at_once("buffer_bytes", buffer_bytes, &new.buffer_bytes);
        self.at_once("response_header_bytes", response_header_bytes, &new.response_header_bytes);
        self.at_once("preserve_host", preserve_host, &new.preserve_host);
        self.at_once("retry", retry, &new.retry);
        self.at_once("signing_key_file", signing_key_file, &new.signing_key_file);
        self.at_once("signing_key_id", signing_key_id, &new.signing_key_id);
        self.at_once("signature_lifetime", signature_lifetime, &new.signature_lifetime);
    }

    fn reload(&mut self, old: &ReloadConfig, new: &ReloadConfig) {
        let ReloadConfig { watch, poll } = old;
        self.at_once("watch", watch, &new.watch);
        self.at_once("poll", poll, &new.poll);
    }

    fn access_log(&mut self, old: &AccessLogConfig, new: &AccessLogConfig) {
        let AccessLogConfig { enabled, query } = old;
        self.at_once("enabled", enabled, &new.enabled);
        self.at_once("query", query, &new.query);
    }

    fn log(&mut self, old: &LogConfig, new: &mut LogConfig) {
        let LogConfig { level, format } = old;
        self.at_once("level", level, &new.level);
        self.at_restart("format", format, &mut new.format);
    }
}

fn dotted(table: &str, key: &str) -> String {
    if table.is_empty() { key.to_owned() } else { format!("{table}.{key}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Said, read};

    fn settings(text: &str) -> Settings {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keyward.toml");
        std::fs::write(&file, text).unwrap();
        let read = read(Said { file: Some(file), ..Said::default() }).unwrap();
        assert_eq!(read.problems, []);
        read.settings
    }

    #[test]
    fn nothing_differs_from_itself() {
        let same = || settings("[services.a]\nurl = \"http://a\"\n");
        assert_eq!(same().renewed(same()).1, Changes::default());
    }

    #[test]
    fn what_waits_for_a_restart_stays_what_it_was_and_is_told_again() {
        let old = settings("");
        let new = settings("server.workers = 7\nserver.limits.streams = 9\nstore.readers = 9\nlog.format = \"json\"\n");
        let (used, changes) = old.renewed(new.clone());
        assert_eq!(changes.at_once, ["server.limits.streams"]);
        assert_eq!(changes.at_restart, ["server.workers", "store.readers", "log.format"]);
        assert_eq!((used.server.workers, used.server.limits.streams), (0, 9));
        let (_, again) = used.renewed(new);
        assert_eq!((again.at_once.len(), again.at_restart.len()), (0, 3));
    }

    #[test]
    fn services_are_told_by_name_and_tls_of_the_admin_by_whether_it_is_there() {
        let old =
            settings("[services.a]\nurl = \"http://a\"\n[services.b]\nurl = \"http://b\"\n[admin]\nkey_file = \"/k\"");
        let new =
            settings("[services.b]\nurl = \"http://c\"\n[services.d]\nurl = \"http://d\"\n[admin]\nkey_file = \"/l\"");
        let (_, changes) = old.renewed(new);
        assert_eq!(changes.at_once, ["admin.key_file", "services.a", "services.b", "services.d"]);
        let (_, changes) = old.renewed(settings(""));
        assert_eq!(changes.at_restart, ["admin.key_file"]);
    }
}
