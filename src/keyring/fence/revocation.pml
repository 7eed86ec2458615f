/* The protocol by which a change becomes true everywhere, for Spin: one key, one revocation, and every order of steps.
 *
 * `cargo xtask spin` checks that no assertion fails, and that each fault put in by `-DBUG_...` fails one. Time is a counter that
 * runs whenever it likes, so any process may stand still between any two of its steps, for any time.
 *
 *   here                          there
 *   now                           every clock; that rates differ is the simulation's matter
 *   revoked                       the store: the key is revoked, and the log's head is 1 instead of 0
 *   row[], acked[]                Replica::state and ::applied, as Store::replicas answers
 *   kept[], kept_as_of[]          the cache's Entry of the key, and its as_of; kept_revoked[]: its standing
 *   flying[], ...                 flight.rs: a look-up on its way, which others join
 *   stripe[]                      the key's stripe in the Fence
 *   deadline[]                    Fence::deadline
 *   complete                      Wait::judge has said so, and the receipt is out
 *
 *   Follow                        keyring::follow with Member: Register, Renew, News::apply, Applied::extend, Acknowledge
 *   Ask                           verify.rs and Fence::judge: deadline, entry, stripe, clock
 *   Change                        operate.rs with Wait: commit, then by acknowledgement or by time
 *   Doubt                         Purge: live, suspect, dead
 *
 * F is a lease; whoever waits waits for F + 1, which stands for F + m. What is asserted (G1): a request that began when the
 * revocation was complete is not served by what was before.
 *
 * REPLICAS, ASKS, RENEWALS, END: how much of each, small enough for seconds and large enough that every fault shows.
 * -DPURGE lets somebody doubt replica 0, for no reason.
 */
#ifndef REPLICAS
#define REPLICAS 1
#endif
#ifndef ASKS
#define ASKS 1
#endif
#ifndef F
#define F 1
#endif
#ifndef END
#define END 3
#endif
#ifndef RENEWALS
#ifdef PURGE
#define RENEWALS 1
#else
#define RENEWALS 2
#endif
#endif
#define NONE 0
#define LIVE 1
#define SUSPECT 2
#define DEAD 3
#define RAISE(what, to) what = (to > what -> to : what)
#define SERVED assert(!after)

byte now = 0;
bool revoked = false;
bool complete = false;
byte row[REPLICAS];
byte acked[REPLICAS];
bool kept[REPLICAS];
byte kept_as_of[REPLICAS];
bool kept_revoked[REPLICAS];
bool flying[REPLICAS];
byte flying_as_of[REPLICAS];
bool flying_revoked[REPLICAS];
byte stripe[REPLICAS];
byte deadline[REPLICAS];

proctype Clock() {
	do
	:: now < END -> now++
	:: now == END -> break
	od
}

proctype Follow(byte i) {
	byte sent, head, times;
	bool live;
	do
	:: times < RENEWALS ->
		times++;
		if
		:: row[i] != LIVE ->
#ifdef BUG_SNAPSHOT_BEFORE_REGISTRATION
			sent = now;
			head = revoked;
			atomic { row[i] = LIVE; acked[i] = 0 }
			live = true
#else
			/* I4: what grants a lease is read after the registration was committed. */
			atomic { row[i] = LIVE; acked[i] = 0 }
			sent = now;
			atomic { head = revoked; live = (row[i] == LIVE) }
#endif
		:: else ->
			sent = now;
			atomic { head = revoked; live = (row[i] == LIVE) }
		fi;
		if
		:: live ->
#ifdef BUG_LEASE_FROM_RECEIPT
			sent = now;
#endif
#ifdef BUG_ACKNOWLEDGE_BEFORE_APPLYING
			if :: row[i] == LIVE -> RAISE(acked[i], head) :: else fi;
#endif
#ifdef BUG_LEASE_BEFORE_APPLYING
			RAISE(deadline[i], sent + F);
#endif
			RAISE(stripe[i], head);
			/* I2: a lease is extended after everything in its answer is applied. */
			RAISE(deadline[i], sent + F);
			/* I3: what is acknowledged is applied. */
			atomic { if :: row[i] == LIVE -> RAISE(acked[i], head) :: else fi }
		:: else
		fi
	:: break
	od
}

/* A request that came before, and looked up what others will find. */
proctype Fill(byte i) {
	atomic { flying_as_of[i] = revoked; flying_revoked[i] = revoked; flying[i] = true }
	atomic { kept_as_of[i] = flying_as_of[i]; kept_revoked[i] = flying_revoked[i]; kept[i] = true }
	flying[i] = false
}

proctype Ask(byte i) {
	bool after, shows;
	byte until, as_of, changed;
	/* The later it began, the more is promised to it. */
	atomic { after = complete; until = deadline[i] }
	if
	:: atomic { kept[i] -> as_of = kept_as_of[i]; shows = kept_revoked[i] }
	:: atomic { flying[i] -> as_of = flying_as_of[i]; shows = flying_revoked[i] }
#ifdef BUG_JOINED_TRUSTED
		if :: !shows -> SERVED :: else fi;
		goto over
#endif
	:: !kept[i] && !flying[i] ->
		/* Its own look-up: asked after it began, so it is as good as the store. I1: one snapshot. */
		atomic {
			as_of = revoked; shows = revoked;
			kept_as_of[i] = as_of; kept_revoked[i] = shows; kept[i] = true
		}
		if :: !shows -> SERVED :: else fi;
		goto over
	fi;
	changed = stripe[i];
#ifdef BUG_DEADLINE_LATE
	until = deadline[i];
#endif
	/* I6: it is as new as its stripe, which was read after a deadline that the clock, read last, has not passed. */
	if
	::
#ifndef BUG_STALE_FILL
		as_of >= changed &&
#endif
#ifndef BUG_LEASE_IGNORED
		now < until &&
#endif
		!shows -> SERVED
	:: else
	fi;
over:	skip
}

proctype Change() {
	byte i, committed;
	bool all;
	revoked = true;
	committed = now;
	do
	:: now >= committed + F + 1 -> break
	:: atomic {
		all = true; i = 0;
		do
		:: i < REPLICAS ->
			if
			:: (row[i] == LIVE || row[i] == SUSPECT) && acked[i] < 1 -> all = false
			:: else
			fi;
			i++
		:: else -> break
		od;
		if :: all -> break :: else fi
	}
	:: now == END -> goto over
	od;
	complete = true;
over:	skip
}

/* I5: nobody waits for a row only when its incarnation can hold no lease. */
proctype Doubt(byte i) {
	byte since;
	if :: row[i] == LIVE :: row[i] != LIVE -> goto over fi;
#ifdef BUG_ONE_PHASE_PURGE
	row[i] = DEAD;
#else
	atomic { if :: row[i] == LIVE -> row[i] = SUSPECT :: else -> goto over fi }
	since = now;
	if
	:: now >= since + F + 1 -> atomic { if :: row[i] == SUSPECT -> row[i] = DEAD :: else fi }
	:: now == END
	fi;
#endif
over:	skip
}

init {
	byte i, j;
	atomic {
		do
		:: i < REPLICAS ->
			run Follow(i);
			run Fill(i);
			j = 0;
			do :: j < ASKS -> run Ask(i); j++ :: else -> break od;
			i++
		:: else -> break
		od;
#ifdef PURGE
		run Doubt(0);
#endif
		run Change();
		run Clock()
	}
}
