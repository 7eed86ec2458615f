//! Settings that are wrong change nothing, and every reason is told where it stands.

use super::{APPLIED, ASKED, REFUSED, WATCHED, hang_up, number, to, told, write};
use crate::support::{Origin, keyward};

#[test]
fn every_reason_is_told_with_its_place_and_the_settings_in_use_stay() {
    let origin = Origin::plain();
    let keyward = keyward().config(format!("{ASKED}{}", to(&origin))).start();
    let mut wire = keyward.wire();
    let wrong = "[gateway]\nrelm = \"x\"\n[server.limits]\nstreams = \"many\"\n[[routes]]\npath = \"/a\"\nservice = \"nobody\"\n";
    write(&keyward, &format!("{ASKED}{}{wrong}", to(&origin)));
    hang_up(&keyward, REFUSED, 1);
    let file = keyward.folder().join("keyward.toml");
    let said = keyward.stderr.all();
    for (line, key, what) in [
        (10, "gateway.relm", "did you mean `realm`"),
        (12, "server.limits.streams", "expected"),
        (15, "routes.1.service", "there is no service"),
    ] {
        let place = format!("place={}:{line}:1 key=\"{key}\"", file.display());
        let told = said.iter().find(|line| line.contains(&place)).unwrap_or_else(|| panic!("no {place} in {said:#?}"));
        assert!(told.contains("ERROR") && told.contains(what), "{told}");
    }
    keyward.stderr.expect(&format!("{REFUSED} reasons=3"));
    assert_eq!(wire.ask("GET", "/", &[]).status, 200);
    assert_eq!(number(&keyward, r#"keyward_config_reloads_total{result="refused"}"#), 1.0);
    assert_eq!(number(&keyward, "keyward_config_last_reload_successful"), 0.0);
    write(&keyward, &format!("access_log.query = true\n{ASKED}{}", to(&origin)));
    hang_up(&keyward, APPLIED, 1);
    assert_eq!(number(&keyward, "keyward_config_last_reload_successful"), 1.0);
}

#[test]
fn a_half_written_file_is_refused_once_and_the_whole_one_is_taken_over() {
    let (old, new) = (Origin::plain(), Origin::plain());
    let keyward = keyward().config(format!("{WATCHED}{}", to(&old))).start();
    let whole = format!("{WATCHED}{}", to(&new));
    let file = keyward.folder().join("keyward.toml");
    // Cut within the text of the URL.
    std::fs::write(&file, &whole[..whole.find("127.0.0.1").unwrap() + 5]).unwrap();
    told(&keyward, REFUSED, 1);
    keyward.stderr.expect("not TOML");
    assert_eq!(keyward.wire().ask("GET", "/", &[]).status, 200);
    std::fs::write(&file, &whole).unwrap();
    told(&keyward, APPLIED, 1);
    assert_eq!(keyward.wire().ask("GET", "/", &[]).status, 200);
    assert_eq!((old.seen().heads.len(), new.seen().heads.len()), (1, 1));
    assert_eq!(number(&keyward, r#"keyward_config_reloads_total{result="refused"}"#), 1.0);
}

#[test]
fn a_file_that_is_gone_is_no_wish_for_the_defaults() {
    let origin = Origin::plain();
    // With --upstream the defaults alone would do.
    let keyward = keyward().config(format!("gateway.realm = \"mine\"\n{WATCHED}")).upstream(origin.url()).start();
    let file = keyward.folder().join("keyward.toml");
    let kept = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    told(&keyward, REFUSED, 1);
    keyward.stderr.expect("cannot be read: No such file");
    let refused = keyward.wire().ask("GET", "/", &[]);
    assert!(refused.all("www-authenticate")[0].contains("realm=\"mine\""), "{refused:?}");
    std::fs::write(&file, kept.replace("mine", "yours")).unwrap();
    told(&keyward, APPLIED, 1);
    let refused = keyward.wire().ask("GET", "/", &[]);
    assert!(refused.all("www-authenticate")[0].contains("realm=\"yours\""), "{refused:?}");
}
