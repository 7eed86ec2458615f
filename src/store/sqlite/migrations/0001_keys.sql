-- Keys, whom they belong to, and the log by which every cache learns of a change.
--
-- Moments are milliseconds since the Unix epoch. Sets (permissions, networks) are comma-separated; no member has a comma.
-- Everything here runs in SQLite 3.37 and later, so that a distribution's sqlite3 shell can edit the store.

CREATE TABLE meta (
  name  TEXT PRIMARY KEY,
  value ANY NOT NULL
) STRICT, WITHOUT ROWID;

-- AUTOINCREMENT, here and below: a serial is never used twice, so nothing kept under one can mean another record later.
CREATE TABLE account (
  serial     INTEGER PRIMARY KEY AUTOINCREMENT,
  id         TEXT NOT NULL UNIQUE,
  name       TEXT,
  state      TEXT NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'suspended')),
  created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE user (
  serial     INTEGER PRIMARY KEY AUTOINCREMENT,
  id         TEXT NOT NULL UNIQUE,
  name       TEXT,
  email      TEXT,
  created_at INTEGER NOT NULL
) STRICT;

-- By user first: a look-up asks where a user belongs.
CREATE TABLE membership (
  user        TEXT NOT NULL REFERENCES user (id),
  account     TEXT NOT NULL REFERENCES account (id),
  permissions TEXT NOT NULL DEFAULT '',
  licence     TEXT,
  PRIMARY KEY (user, account)
) STRICT, WITHOUT ROWID;
CREATE INDEX membership_of_account ON membership (account);

-- `version` counts what can be seen to change: see key_version below.
CREATE TABLE key (
  serial      INTEGER PRIMARY KEY AUTOINCREMENT,
  id          TEXT NOT NULL UNIQUE,
  kind        TEXT NOT NULL CHECK (kind IN ('user', 'personal', 'service', 'operator')),
  state       TEXT NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'suspended', 'revoked')),
  account     TEXT REFERENCES account (id),
  user        TEXT REFERENCES user (id),
  name        TEXT NOT NULL DEFAULT '',
  permissions TEXT NOT NULL DEFAULT '',
  allowed_ips TEXT NOT NULL DEFAULT '',
  not_before  INTEGER,
  expires_at  INTEGER,
  created_at  INTEGER NOT NULL,
  rotated_at  INTEGER,
  generation  INTEGER NOT NULL DEFAULT 1,
  version     INTEGER NOT NULL DEFAULT 1,
  CHECK ((account IS NOT NULL) = (kind IN ('personal', 'service'))),
  CHECK ((user IS NOT NULL) = (kind IN ('personal', 'user')))
) STRICT;
CREATE INDEX key_of_account ON key (account) WHERE account IS NOT NULL;
CREATE INDEX key_of_user ON key (user) WHERE user IS NOT NULL;
CREATE INDEX key_of_operators ON key (serial) WHERE kind = 'operator';

-- Found by digest and by nothing else. A retired secret stays, so that it is known as such and is never adopted again.
-- A key has one current secret and at most one that is pending or in grace, whose time ends with `until`; `grace` is what
-- a pending one will leave to the secret before it, in milliseconds. `used` is 0 while the first use of a secret that a
-- rotation made is waited for. `number` counts a key's secrets from 1; none has another's.
CREATE TABLE secret (
  digest     BLOB PRIMARY KEY CHECK (length(digest) = 32),
  key        INTEGER NOT NULL REFERENCES key (serial) ON DELETE CASCADE,
  state      TEXT NOT NULL DEFAULT 'current' CHECK (state IN ('pending', 'current', 'grace', 'retired')),
  prefix     TEXT,
  kid        TEXT,
  hint       TEXT NOT NULL,
  number     INTEGER NOT NULL DEFAULT 1,
  created_at INTEGER NOT NULL,
  until      INTEGER,
  grace      INTEGER,
  used       INTEGER CHECK (used IN (0, 1)),
  CHECK ((until IS NOT NULL) = (state IN ('pending', 'grace')))
) STRICT, WITHOUT ROWID;
-- With the state, so that who reads the current secrets of many keys need not look each of them up by its digest.
CREATE INDEX secret_of_key ON secret (key, state);

-- Apart from the keys, narrow, and never logged: a use is no change of a key.
CREATE TABLE usage (
  key          INTEGER PRIMARY KEY,
  last_used_at INTEGER NOT NULL
) STRICT;

-- Prefixes of adopted secrets that have our shape but not our checksum; under these a wrong checksum proves nothing.
CREATE TABLE adopted_prefix (
  prefix TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;

-- The log's last position. `bulk` is 1 only inside a transaction that writes one entry for all it does.
CREATE TABLE head (
  one  INTEGER PRIMARY KEY CHECK (one = 1),
  seq  INTEGER NOT NULL,
  bulk INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO head (one, seq) VALUES (1, 0);

-- kind: 1 key changed, 2 owner changed, 3 adopted prefixes changed, 4 everything may have changed, 5 key created.
-- subject: of 1 and 5 the digest's first 16 bytes; of 2 'account:' or 'user:' and the id.
-- One writer at a time and AUTOINCREMENT make positions gapless and ordered as the commits are.
CREATE TABLE log (
  seq       INTEGER PRIMARY KEY AUTOINCREMENT,
  kind      INTEGER NOT NULL,
  subject   BLOB NOT NULL,
  narrowing INTEGER NOT NULL,
  at        INTEGER NOT NULL DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER))
) STRICT;
CREATE TRIGGER log_moves_head AFTER INSERT ON log BEGIN
  UPDATE head SET seq = NEW.seq;
END;

-- The triggers write the log, not the program, so that no change by hand goes unnoticed. A key's change is told of each of
-- its secrets; of the retired ones, which may be thousands and are refused whatever else is said of the key, only where their
-- refusal has another reason from now on. Columns that no look-up reads are not told.
CREATE TRIGGER key_inserted AFTER INSERT ON key WHEN (SELECT bulk FROM head) = 0 BEGIN
  INSERT INTO log (kind, subject, narrowing)
  SELECT 1, substr(digest, 1, 16), 1 FROM secret WHERE key = NEW.serial;
END;
CREATE TRIGGER key_updated
AFTER UPDATE OF serial, id, kind, state, account, user, permissions, allowed_ips, not_before, expires_at ON key
WHEN (SELECT bulk FROM head) = 0 BEGIN
  INSERT INTO log (kind, subject, narrowing)
  SELECT 1, substr(digest, 1, 16), 1 FROM secret
   WHERE key IN (OLD.serial, NEW.serial)
     AND (state <> 'retired' OR (OLD.state = 'revoked') <> (NEW.state = 'revoked')
          OR (OLD.serial, OLD.id) IS NOT (NEW.serial, NEW.id));
END;
CREATE TRIGGER key_deleted AFTER DELETE ON key WHEN (SELECT bulk FROM head) = 0 BEGIN
  INSERT INTO log (kind, subject, narrowing)
  SELECT 1, substr(digest, 1, 16), 1 FROM secret WHERE key = OLD.serial;
END;

CREATE TRIGGER secret_inserted AFTER INSERT ON secret WHEN (SELECT bulk FROM head) = 0 BEGIN
  INSERT INTO log (kind, subject, narrowing) VALUES (5, substr(NEW.digest, 1, 16), 0);
END;
CREATE TRIGGER secret_updated AFTER UPDATE ON secret WHEN (SELECT bulk FROM head) = 0 BEGIN
  INSERT INTO log (kind, subject, narrowing) VALUES (1, substr(OLD.digest, 1, 16), 1);
  INSERT INTO log (kind, subject, narrowing)
  SELECT 1, substr(NEW.digest, 1, 16), 1 WHERE NEW.digest IS NOT OLD.digest;
END;
CREATE TRIGGER secret_deleted AFTER DELETE ON secret WHEN (SELECT bulk FROM head) = 0 BEGIN
  INSERT INTO log (kind, subject, narrowing) VALUES (1, substr(OLD.digest, 1, 16), 1);
END;

CREATE TRIGGER account_inserted AFTER INSERT ON account WHEN (SELECT bulk FROM head) = 0 BEGIN
  INSERT INTO log (kind, subject, narrowing) VALUES (2, CAST('account:' || NEW.id AS BLOB), 0);
END;
CREATE TRIGGER account_updated AFTER UPDATE OF serial, id, state ON account WHEN (SELECT bulk FROM head) = 0 BEGIN
  INSERT INTO log (kind, subject, narrowing) VALUES (2, CAST('account:' || OLD.id AS BLOB), 1);
  INSERT INTO log (kind, subject, narrowing)
  SELECT 2, CAST('account:' || NEW.id AS BLOB), 1 WHERE NEW.id IS NOT OLD.id;
END;
CREATE TRIGGER account_deleted AFTER DELETE ON account WHEN (SELECT bulk FROM head) = 0 BEGIN
  INSERT INTO log (kind, subject, narrowing) VALUES (2, CAST('account:' || OLD.id AS BLOB), 1);
END;

-- A user by itself decides nothing; where they belong does. Both sides of a membership that moves are told.
CREATE TRIGGER membership_inserted AFTER INSERT ON membership WHEN (SELECT bulk FROM head) = 0 BEGIN
  INSERT INTO log (kind, subject, narrowing) VALUES (2, CAST('user:' || NEW.user AS BLOB), 0);
END;
CREATE TRIGGER membership_updated AFTER UPDATE ON membership WHEN (SELECT bulk FROM head) = 0 BEGIN
  INSERT INTO log (kind, subject, narrowing) VALUES (2, CAST('user:' || OLD.user AS BLOB), 1);
  INSERT INTO log (kind, subject, narrowing)
  SELECT 2, CAST('user:' || NEW.user AS BLOB), 1 WHERE NEW.user IS NOT OLD.user;
END;
CREATE TRIGGER membership_deleted AFTER DELETE ON membership WHEN (SELECT bulk FROM head) = 0 BEGIN
  INSERT INTO log (kind, subject, narrowing) VALUES (2, CAST('user:' || OLD.user AS BLOB), 1);
END;

CREATE TRIGGER adopted_prefix_inserted AFTER INSERT ON adopted_prefix WHEN (SELECT bulk FROM head) = 0 BEGIN
  INSERT INTO log (kind, subject, narrowing) VALUES (3, CAST(NEW.prefix AS BLOB), 0);
END;
CREATE TRIGGER adopted_prefix_deleted AFTER DELETE ON adopted_prefix WHEN (SELECT bulk FROM head) = 0 BEGIN
  INSERT INTO log (kind, subject, narrowing) VALUES (3, CAST(OLD.prefix AS BLOB), 1);
END;

-- Audit: who did what, in the same transaction as what they did. An entry outlives what it is about, so nothing is referenced.
-- `caller` is a user of the operating system, or the key of an operator or a holder. `details` is a JSON object.
CREATE TABLE audit (
  seq        INTEGER PRIMARY KEY AUTOINCREMENT,
  at         INTEGER NOT NULL,
  last_at    INTEGER NOT NULL,
  count      INTEGER NOT NULL DEFAULT 1,
  action     TEXT NOT NULL,
  outcome    TEXT NOT NULL CHECK (outcome IN ('done', 'refused')),
  who        TEXT NOT NULL CHECK (who IN ('keyward', 'command_line', 'operator', 'holder', 'stranger')),
  caller     TEXT,
  address    TEXT,
  request_id TEXT,
  key        TEXT,
  account    TEXT,
  user       TEXT,
  details    TEXT NOT NULL DEFAULT '{}',
  CHECK ((caller IS NULL) = (who IN ('keyward', 'stranger')))
) STRICT;
CREATE INDEX audit_of_key ON audit (key, at);
CREATE INDEX audit_of_account ON audit (account) WHERE account IS NOT NULL;
CREATE INDEX audit_of_user ON audit (user) WHERE user IS NOT NULL;

-- Answers for whoever asks again under the same Idempotency-Key. Only who presents the same credential and the same key can find
-- one or open it: name, request and seal are all made of both. `revision` is the log's position with the change in it.
CREATE TABLE answer (
  name     BLOB PRIMARY KEY CHECK (length(name) = 32),
  request  BLOB NOT NULL,
  sealed   BLOB NOT NULL,
  until    INTEGER NOT NULL,
  revision INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX answer_by_end ON answer (until);

-- Who uses which secret, by its number: at most so many callers each as `keyring.callers` says, and the others counted together.
-- Apart from the keys, as `usage` is, and never logged. What was seen of a secret goes with it.
CREATE TABLE caller (
  key        INTEGER NOT NULL,
  secret     INTEGER NOT NULL,
  address    TEXT NOT NULL,
  agent      TEXT NOT NULL,
  route      TEXT NOT NULL,
  count      INTEGER NOT NULL,
  first_seen INTEGER NOT NULL,
  last_seen  INTEGER NOT NULL,
  PRIMARY KEY (key, secret, address, agent, route)
) STRICT, WITHOUT ROWID;

CREATE TABLE other_callers (
  key        INTEGER NOT NULL,
  secret     INTEGER NOT NULL,
  count      INTEGER NOT NULL,
  first_seen INTEGER NOT NULL,
  last_seen  INTEGER NOT NULL,
  PRIMARY KEY (key, secret)
) STRICT, WITHOUT ROWID;

-- In which accounts the keys of users were used.
CREATE TABLE reached (
  key        INTEGER NOT NULL,
  account    TEXT NOT NULL,
  count      INTEGER NOT NULL,
  first_seen INTEGER NOT NULL,
  last_seen  INTEGER NOT NULL,
  PRIMARY KEY (key, account)
) STRICT, WITHOUT ROWID;

-- Rotations whose old secret ends once nobody has used it for `span` milliseconds, which count from `since` on: from when it is in
-- grace. A key has one rotation at most.
CREATE TABLE quiet (
  key   INTEGER PRIMARY KEY REFERENCES key (serial) ON DELETE CASCADE,
  span  INTEGER NOT NULL,
  since INTEGER
) STRICT;

CREATE TRIGGER callers_retired AFTER UPDATE OF state ON secret WHEN NEW.state = 'retired' BEGIN
  DELETE FROM caller WHERE key = NEW.key AND secret = NEW.number;
  DELETE FROM other_callers WHERE key = NEW.key AND secret = NEW.number;
END;
CREATE TRIGGER callers_deleted AFTER DELETE ON key BEGIN
  DELETE FROM caller WHERE key = OLD.serial;
  DELETE FROM other_callers WHERE key = OLD.serial;
  DELETE FROM reached WHERE key = OLD.serial;
END;

-- A version for every change of a key's record or of its secrets' part in it. It is no column that a look-up reads, so it is
-- not told. Triggers do not run themselves again here (SQLite's default), and the condition stands for where they do.
CREATE TRIGGER key_version AFTER UPDATE ON key WHEN NEW.version IS OLD.version BEGIN
  UPDATE key SET version = version + 1 WHERE serial = NEW.serial;
END;
CREATE TRIGGER secret_version AFTER UPDATE OF state, prefix, kid, hint, until ON secret
WHEN (NEW.state, NEW.prefix, NEW.kid, NEW.hint, NEW.until) IS NOT (OLD.state, OLD.prefix, OLD.kid, OLD.hint, OLD.until)
BEGIN
  UPDATE key SET version = version + 1 WHERE serial = NEW.key;
END;
