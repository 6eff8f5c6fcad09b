-- Everything that belongs to an instance is keyed by its incarnation, which rises with time: rows of one period share
-- pages. Times are microseconds UTC. Payloads are bytes that SQLite never looks into.

CREATE TABLE instances (
    incarnation INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    version TEXT,
    status TEXT NOT NULL,
    execution INTEGER NOT NULL DEFAULT 1,
    -- The last event of that execution; 0 before its first turn.
    last_event INTEGER NOT NULL DEFAULT 0,
    owner INTEGER,
    deliveries INTEGER NOT NULL DEFAULT 1,
    created_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    ready_at INTEGER NOT NULL,
    root TEXT NOT NULL,
    parent_id TEXT,
    parent_incarnation INTEGER,
    parent_execution INTEGER,
    parent_event INTEGER,
    slot INTEGER NOT NULL,
    min_reader INTEGER NOT NULL DEFAULT 1,
    -- How often it was put in place of what it was.
    resets INTEGER NOT NULL DEFAULT 0,
    cancel_requested INTEGER NOT NULL DEFAULT 0,
    custom_status_version INTEGER NOT NULL DEFAULT 0,
    held_after INTEGER,
    held_because TEXT,
    released_by INTEGER,
    released_until INTEGER,
    -- The local task: see below.
    local_event INTEGER,
    local_at INTEGER,
    local_name TEXT,
    attributes BLOB,
    custom_status BLOB,
    error BLOB,
    output BLOB,
    local_retry BLOB,
    local_input BLOB
) STRICT;
-- Completed ones are nearly all of a grown store, and a page of them is found at once in the order of incarnations.
CREATE INDEX instances_by_status ON instances (status) WHERE status <> 'completed';
CREATE INDEX instances_by_name ON instances (name);
CREATE INDEX instances_by_root ON instances (root) WHERE root <> id;
-- Incarnations tell when instances were begun, and so a span of time is found by them, but for those of which they don't:
-- more than a minute lies between the moment that the incarnation says (milliseconds since 2020) and the beginning.
CREATE INDEX instances_strayed ON instances (incarnation)
    WHERE abs(created_at / 1000 - 1577836800000 - (incarnation >> 22)) > 60000;
CREATE INDEX instances_by_parent ON instances (parent_incarnation) WHERE parent_incarnation IS NOT NULL;
CREATE INDEX instances_released ON instances (released_by, released_until) WHERE released_by IS NOT NULL;

-- One row per turn, append-only. The rows are in order of arrival, so that the turns of one commit lie side by side.
CREATE TABLE history (
    incarnation INTEGER NOT NULL,
    execution INTEGER NOT NULL,
    first_event INTEGER NOT NULL,
    last_event INTEGER NOT NULL,
    at INTEGER NOT NULL,
    format INTEGER NOT NULL,
    crc INTEGER NOT NULL,
    encoding TEXT NOT NULL,
    data BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX history_by_instance ON history (incarnation, execution, last_event);

-- AUTOINCREMENT: the number of a message that a worker still holds in memory is never given to another.
CREATE TABLE messages (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    incarnation INTEGER NOT NULL,
    execution INTEGER,
    due_at INTEGER NOT NULL,
    control INTEGER NOT NULL DEFAULT 0,
    body BLOB NOT NULL
) STRICT;
CREATE INDEX messages_by_instance ON messages (incarnation, due_at);
CREATE INDEX messages_by_due ON messages (due_at, incarnation);
CREATE INDEX messages_of_control ON messages (incarnation, due_at) WHERE control = 1;

CREATE TABLE dedup_keys (
    incarnation INTEGER NOT NULL,
    dedup_key TEXT NOT NULL,
    PRIMARY KEY (incarnation, dedup_key)
) STRICT, WITHOUT ROWID;

-- What an instance keeps under keys for others to read. Those that have a `passing_since` are removed in time.
CREATE TABLE entries (
    incarnation INTEGER NOT NULL,
    shelf TEXT NOT NULL,
    key TEXT NOT NULL,
    passing_since INTEGER,
    value BLOB NOT NULL,
    PRIMARY KEY (incarnation, shelf, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX entries_passing ON entries (passing_since) WHERE passing_since IS NOT NULL;

CREATE TABLE timers (
    incarnation INTEGER NOT NULL,
    execution INTEGER NOT NULL,
    event INTEGER NOT NULL,
    fire_at INTEGER NOT NULL,
    PRIMARY KEY (incarnation, execution, event)
) STRICT, WITHOUT ROWID;
CREATE INDEX timers_by_due ON timers (fire_at, incarnation);

-- An owned task is in no index: most are born owned, run, and are deleted by the next turn.
--
-- The only task of a turn, if it asks for nothing special and the worker runs it at once, has no row here at all: it is
-- in the local_ columns of its instance, whose row every turn writes anyway, until the turn that takes its outcome in.
-- Its owner is the instance's. Whatever else befalls it, it gets a row here first: by the trigger below when the
-- instance loses its owner, by `move_local_tasks` before anything is done to the task itself.
CREATE TABLE tasks (
    incarnation INTEGER NOT NULL,
    execution INTEGER NOT NULL,
    event INTEGER NOT NULL,
    owner INTEGER,
    priority INTEGER NOT NULL DEFAULT 0,
    scheduled_at INTEGER NOT NULL,
    due_at INTEGER NOT NULL,
    delayed INTEGER NOT NULL DEFAULT 0,
    start_by INTEGER,
    deadline INTEGER,
    -- The earlier of the two; no generated column, which would be worked out twice for each row.
    expires_at INTEGER,
    attempt INTEGER NOT NULL DEFAULT 1,
    deliveries INTEGER NOT NULL DEFAULT 1,
    name TEXT NOT NULL,
    tag TEXT,
    session TEXT,
    -- What keeps it out of the line: see `storage/lanes.py`.
    lane TEXT,
    -- The limit that it needs a place of, with the numbers that were declared with it.
    limit_key TEXT,
    concurrency INTEGER,
    rate INTEGER,
    per_us INTEGER,
    -- Whether it was too late when its owner took it, so that it has no place.
    late INTEGER NOT NULL DEFAULT 0,
    retry BLOB,
    input BLOB NOT NULL,
    -- The message by which its instance gets the place of the limit, which is then its own: owner 0.
    permit BLOB,
    last_error BLOB,
    -- What the activity last said of its progress.
    details BLOB,
    stopped INTEGER NOT NULL DEFAULT 0,
    held_at INTEGER,
    held_because TEXT,
    -- When it was called, if it is not to be called again before somebody knows what came of that.
    began_at INTEGER,
    PRIMARY KEY (incarnation, execution, event)
) STRICT, WITHOUT ROWID;
CREATE INDEX tasks_in_line ON tasks (priority DESC, scheduled_at, incarnation, execution, event, due_at, name)
    WHERE owner IS NULL AND delayed = 0 AND lane IS NULL;
CREATE INDEX tasks_in_lanes ON tasks (
    lane, delayed, priority DESC, scheduled_at, incarnation, execution, event, due_at, name, owner
) WHERE owner IS NULL AND lane IS NOT NULL;
CREATE INDEX tasks_due_in_lanes ON tasks (due_at) WHERE owner IS NULL AND lane IS NOT NULL;
CREATE INDEX tasks_of_limits ON tasks (
    limit_key, scheduled_at, incarnation, execution, event, concurrency, rate, per_us
) WHERE limit_key IS NOT NULL;
CREATE INDEX tasks_with_place ON tasks (limit_key, owner, late)
    WHERE limit_key IS NOT NULL AND owner IS NOT NULL AND late = 0;
CREATE INDEX tasks_delayed ON tasks (due_at, name) WHERE owner IS NULL AND delayed = 1;
CREATE INDEX tasks_held ON tasks (held_at, incarnation, execution, event) WHERE held_because IS NOT NULL;
CREATE INDEX tasks_by_name ON tasks (name, delayed, due_at) WHERE owner IS NULL AND permit IS NULL;
CREATE INDEX tasks_expiring ON tasks (expires_at) WHERE owner IS NULL AND expires_at IS NOT NULL;
CREATE INDEX tasks_of_sessions ON tasks (session, owner) WHERE session IS NOT NULL;

-- How many of a limit key began at a moment, for its rate; it counts until then.
CREATE TABLE starts (
    limit_key TEXT NOT NULL,
    at INTEGER NOT NULL,
    until INTEGER NOT NULL,
    many INTEGER NOT NULL,
    PRIMARY KEY (limit_key, at)
) STRICT, WITHOUT ROWID;
CREATE INDEX starts_over ON starts (until);

-- Which worker runs the tasks of a session, for as long as it lives and until it has not used it for a while.
CREATE TABLE sessions (
    session TEXT PRIMARY KEY,
    worker INTEGER NOT NULL,
    used_at INTEGER NOT NULL,
    idle_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_of_workers ON sessions (worker);

CREATE TABLE workers (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    pid INTEGER NOT NULL,
    host TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    lease_us INTEGER NOT NULL,
    lease_until INTEGER NOT NULL,
    joined INTEGER NOT NULL,
    orchestrations TEXT NOT NULL,
    activities TEXT NOT NULL,
    -- Which tags it serves, as JSON; NULL: it takes what has none.
    serves TEXT,
    last_token BLOB
) STRICT;

-- What a worker has code for; `version` is empty for an activity.
CREATE TABLE abilities (
    worker INTEGER NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    version TEXT NOT NULL,
    -- The engine that it has: it takes no execution that needs a later one.
    reader INTEGER NOT NULL,
    PRIMARY KEY (worker, kind, name, version)
) STRICT, WITHOUT ROWID;

-- What is on its way to other shards. AUTOINCREMENT: a number that was delivered is never another parcel's.
CREATE TABLE outbox (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    shard INTEGER NOT NULL,
    incarnation INTEGER NOT NULL,
    sent_at INTEGER NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE INDEX outbox_by_sender ON outbox (shard, incarnation);

-- What has come from them, and whether it was passed over.
CREATE TABLE received (
    sender INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    incarnation INTEGER NOT NULL,
    skipped INTEGER NOT NULL,
    PRIMARY KEY (sender, seq, incarnation)
) STRICT, WITHOUT ROWID;

-- Which shard this is, if it is one.
CREATE TABLE shard (
    number INTEGER NOT NULL,
    count INTEGER NOT NULL,
    fleet TEXT NOT NULL,
    lone INTEGER PRIMARY KEY CHECK (lone = 1)
) STRICT;

-- Where instances are found that have an attribute, newest first. A value is as `json_each` has it, so that some which
-- differ are the same here (true and 1, null and ''): whoever looks compares the instance's own.
CREATE TABLE attributes (
    key TEXT NOT NULL,
    value ANY NOT NULL,
    incarnation INTEGER NOT NULL,
    PRIMARY KEY (key, value, incarnation)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER instances_attributes AFTER INSERT ON instances WHEN NEW.attributes IS NOT NULL
BEGIN
    INSERT OR IGNORE INTO attributes (key, value, incarnation)
    SELECT key, ifnull(value, ''), NEW.incarnation FROM json_each(CAST(NEW.attributes AS TEXT));
END;

-- The highest incarnation of all that were deleted: what was begun later has never been.
CREATE TABLE gone (
    incarnation INTEGER NOT NULL,
    lone INTEGER PRIMARY KEY CHECK (lone = 1)
) STRICT;
INSERT INTO gone (incarnation, lone) VALUES (0, 1);

-- Of a deleted one nothing is left but that, and what it has sent to other shards.
CREATE TRIGGER instances_delete AFTER DELETE ON instances
BEGIN
    UPDATE gone SET incarnation = OLD.incarnation WHERE incarnation < OLD.incarnation;
    DELETE FROM attributes WHERE (key, value, incarnation) IN (
        SELECT key, ifnull(value, ''), OLD.incarnation FROM json_each(CAST(OLD.attributes AS TEXT))
    );
    DELETE FROM messages WHERE incarnation = OLD.incarnation;
    DELETE FROM tasks WHERE incarnation = OLD.incarnation;
    DELETE FROM timers WHERE incarnation = OLD.incarnation;
    DELETE FROM dedup_keys WHERE incarnation = OLD.incarnation;
    DELETE FROM entries WHERE incarnation = OLD.incarnation;
    DELETE FROM history WHERE incarnation = OLD.incarnation;
END;

-- A local task gets a row of its own by going through this view.
CREATE VIEW local_tasks (incarnation, execution, event, owner, name, at, retry, input) AS
SELECT incarnation, execution, local_event, owner, local_name, local_at, local_retry, local_input
FROM instances WHERE local_event IS NOT NULL;
CREATE TRIGGER local_tasks_move INSTEAD OF INSERT ON local_tasks
BEGIN
    INSERT INTO tasks (incarnation, execution, event, owner, name, scheduled_at, due_at, retry, input)
    VALUES (NEW.incarnation, NEW.execution, NEW.event, NEW.owner, NEW.name, NEW.at, NEW.at, NEW.retry, NEW.input);
    UPDATE instances SET local_event = NULL, local_at = NULL, local_name = NULL, local_retry = NULL, local_input = NULL
    WHERE incarnation = NEW.incarnation;
END;

-- The worker that had the instance still runs its local task, or is gone, which `disown_tasks` then sees to. SQLite sets
-- up all that a trigger does before it looks at its condition, for every instance that ends: hence the view.
CREATE TRIGGER instances_lose_owner AFTER UPDATE OF owner ON instances
WHEN NEW.owner IS NULL AND NEW.local_event IS NOT NULL
BEGIN
    INSERT INTO local_tasks (incarnation, execution, event, owner, name, at, retry, input)
    VALUES (
        NEW.incarnation, NEW.execution, NEW.local_event, OLD.owner, NEW.local_name, NEW.local_at, NEW.local_retry,
        NEW.local_input
    );
END;
