//! The image, really built and really run: a sidecar in the network namespace of an origin container, with a read-only
//! root, no capabilities and no new privileges.
//!
//! ```text
//!  private engine (own network namespace, own folders, gone afterwards)
//!  ┌─────────────────────────────────────────────┐
//!  │ origin's namespace, loopback only           │
//!  │   curl ──▶ keyward :8080 ──▶ busybox :3000  │
//!  └─────────────────────────────────────────────┘
//! ```
//!
//! Only a machine that may not start an engine leaves the run out, and says so; the Dockerfile is checked everywhere.

use std::fs;

use crate::engine::{self, Engine};
use crate::place;
use crate::run::{Run, Trouble, require, seconds};

mod dockerfile;

pub(crate) fn check() -> Result<(), Trouble> {
    dockerfile::check()?;
    done("Dockerfile: its sources exist, and it is what a container of keyward must be");
    if let Some(reason) = engine::hindrance() {
        println!("\nSKIPPED container test: {reason}\n");
        return Ok(());
    }
    if !place::dist_binary().exists() {
        return Err(Trouble::Wrong("dist/keyward is missing: run `cargo xtask release` first".to_owned()));
    }
    let engine = Engine::start()?;
    done(&format!("engine: {}", engine.version()?));
    let outcome = walk(&engine);
    if outcome.is_err() {
        engine.show_logs(KEYWARD);
    }
    outcome
}

fn walk(engine: &Engine) -> Result<(), Trouble> {
    build_images(engine)?;
    start_containers(engine)?;
    engine.wait_until_healthy(KEYWARD)?;
    done("healthy: the image's own health check says so");
    let secret = mint(engine)?;

    expect(engine, Some(&secret), 200, GREETING)?;
    done("allowed: a minted key reaches the origin through the sidecar, 200");
    expect(engine, None, 401, "API_KEY_REQUIRED")?;
    done("refused: no key, 401 API_KEY_REQUIRED");
    expect(engine, Some("not-a-key-of-this-store"), 401, "API_KEY_INVALID")?;
    done("refused: a wrong key, 401 API_KEY_INVALID");
    engine.stop(KEYWARD)?;
    done("stopped: SIGTERM, exit code 0");
    Ok(())
}

fn build_images(engine: &Engine) -> Result<(), Trouble> {
    if !place::dist_binary().exists() {
        return Err(Trouble::Wrong("dist/keyward is missing: run `cargo xtask release` first".to_owned()));
    }
    engine.docker("build --quiet --target prebuilt --tag").arg(KEYWARD).arg(".").env("DOCKER_BUILDKIT", "1").read()?;
    let user = engine.docker("image inspect --format {{.Config.User}}").arg(KEYWARD).read()?;
    let size = engine.docker("image inspect --format {{.Size}}").arg(KEYWARD).read()?;
    require("the image's user", user.trim(), "65532:65532")?;
    done(&format!("built: image {KEYWARD}, user {}, {} bytes", user.trim(), size.trim()));

    import_origin(engine)?;
    done(&format!("imported: image {ORIGIN}, busybox and one page"));
    Ok(())
}

/// An origin that nobody here wrote: busybox, alone in an image, serving one page at the path of account 101.
fn import_origin(engine: &Engine) -> Result<(), Trouble> {
    let tree = engine.folder().join("origin");
    let page = tree.join("www").join(PATH.trim_start_matches('/'));
    let busybox = Run::new("sh -c", seconds(10)).arg("command -v busybox").read()?;
    let made = fs::create_dir_all(tree.join("bin"))
        .and_then(|()| fs::create_dir_all(page.with_file_name("")))
        .and_then(|()| fs::write(&page, GREETING))
        .and_then(|()| fs::copy(busybox.trim(), tree.join("bin/busybox")));
    made.map_err(Trouble::io("make the origin's tree"))?;

    let archive = engine.folder().join("origin.tar");
    Run::new("tar --create --directory", seconds(60)).arg(&tree).arg("--file").arg(&archive).arg(".").read()?;
    engine.docker("import").arg(&archive).arg(ORIGIN).read()?;
    Ok(())
}

fn start_containers(engine: &Engine) -> Result<(), Trouble> {
    engine
        // busybox, as process 1, does not hear a SIGTERM.
        .docker("run --detach --network none --stop-signal KILL --name")
        .arg(ORIGIN)
        .arg(ORIGIN)
        .args("/bin/busybox httpd -f -p 127.0.0.1:3000 -h /www")
        .read()?;
    engine
        .docker("run --detach --read-only --cap-drop=ALL --security-opt no-new-privileges --health-interval=1s")
        .args("--volume keyward:/var/lib/keyward --name")
        .arg(KEYWARD)
        .arg("--network")
        .arg(format!("container:{ORIGIN}"))
        .arg(KEYWARD)
        .args("serve --upstream http://127.0.0.1:3000")
        .read()?;
    done("started: keyward beside the origin, read-only, without capabilities or new privileges");
    Ok(())
}

fn mint(engine: &Engine) -> Result<String, Trouble> {
    let keyward = |words: &str| engine.docker("exec").arg(KEYWARD).arg(PROGRAM).args(words).arg("--store").arg(STORE);
    keyward("account create 101").read()?;
    let minted = keyward("key mint --account 101 --kind service --json").read()?;
    let secret =
        member(&minted, "secret").ok_or_else(|| Trouble::Wrong("key mint --json shows no secret".to_owned()))?;
    let id = member(&minted, "id").unwrap_or_default();
    done(&format!("minted: key {id} of account 101, by the command line beside the running server"));
    Ok(secret.to_owned())
}

/// curl beside the sidecar: its answer must have this status and this in its body.
fn expect(engine: &Engine, secret: Option<&str>, status: u16, body: &str) -> Result<(), Trouble> {
    let mut curl =
        engine.beside(ORIGIN)?.args("curl --silent --show-error --noproxy * --max-time 20 --write-out %{http_code}");
    if let Some(secret) = secret {
        curl = curl.arg("--header").arg(format!("Authorization: Token {secret}"));
    }
    let answer = curl.arg(format!("http://127.0.0.1:8080{PATH}")).read()?;
    if answer.ends_with(&status.to_string()) && answer.contains(body) {
        return Ok(());
    }
    Err(Trouble::Wrong(format!("expected {body:?} and {status}, got {answer:?}")))
}

/// The text member `name` of a JSON object. Ids and secrets hold nothing that JSON escapes.
fn member<'a>(json: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = json.split_once(&format!("\"{name}\""))?;
    let (_, rest) = rest.split_once(':')?;
    let text = rest.trim_start().strip_prefix('"')?;
    text.split_once('"').map(|(text, _)| text)
}

fn done(what: &str) {
    println!("container: {what}");
}

const KEYWARD: &str = "keyward-under-test";
const ORIGIN: &str = "origin-under-test";
const PROGRAM: &str = "/usr/local/bin/keyward";
const STORE: &str = "sqlite:///var/lib/keyward/keyward.db";
const PATH: &str = "/api/v2/accounts/101/projects";
const GREETING: &str = "the origin greets account 101";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_found_in_either_spacing() {
        assert_eq!(member(r#"{"id":"k1","secret":"s1"}"#, "secret"), Some("s1"));
        assert_eq!(member("{\n  \"id\" : \"k1\"\n}", "id"), Some("k1"));
        assert_eq!(member(r#"{"id":7}"#, "id"), None);
    }
}
