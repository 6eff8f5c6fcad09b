-- Everything that belongs to an instance is keyed by its incarnation, which rises with time: rows of one period share
-- pages. Times are microseconds UTC. Payloads are bytes that PostgreSQL never looks into. There are no foreign keys: the
-- row of an instance is locked by whoever touches anything that belongs to it.

-- The one character that JSON has and jsonb has not is replaced.
CREATE FUNCTION perdure.attributes_of(bytea) RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT pg_catalog.replace(pg_catalog.convert_from($1, 'UTF8'), '\u0000', '\ufffd')::jsonb $$;

CREATE TABLE perdure.instances (
    incarnation bigint PRIMARY KEY,
    id text COLLATE "C" NOT NULL UNIQUE,
    name text COLLATE "C" NOT NULL,
    version text COLLATE "C",
    status text COLLATE "C" NOT NULL,
    execution bigint NOT NULL DEFAULT 1,
    owner bigint,
    deliveries bigint NOT NULL DEFAULT 1,
    created_at bigint NOT NULL,
    changed_at bigint NOT NULL,
    ready_at bigint NOT NULL,
    root text COLLATE "C" NOT NULL,
    parent_id text COLLATE "C",
    parent_incarnation bigint,
    parent_execution bigint,
    parent_event bigint,
    slot integer NOT NULL,
    min_reader integer NOT NULL DEFAULT 1,
    -- How often it was put in place of what it was.
    resets bigint NOT NULL DEFAULT 0,
    cancel_requested boolean NOT NULL DEFAULT false,
    custom_status_version bigint NOT NULL DEFAULT 0,
    held_after bigint,
    held_because text COLLATE "C",
    released_by bigint,
    released_until bigint,
    attributes bytea,
    custom_status bytea,
    error bytea,
    output bytea
) WITH (fillfactor = 85, autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX instances_by_status ON perdure.instances (status, incarnation);
CREATE INDEX instances_by_name ON perdure.instances (name, incarnation);
CREATE INDEX instances_by_root ON perdure.instances (root, incarnation) WHERE root <> id;
CREATE INDEX instances_by_parent ON perdure.instances (parent_incarnation, incarnation)
    WHERE parent_incarnation IS NOT NULL;
CREATE INDEX instances_by_attributes ON perdure.instances USING gin (perdure.attributes_of(attributes) jsonb_path_ops)
    WHERE attributes IS NOT NULL;
-- Incarnations tell when instances were begun, and so a span of time is found by them, but for those of which they don't:
-- more than a minute lies between the moment that the incarnation says (milliseconds since 2020) and the beginning.
CREATE INDEX instances_strayed ON perdure.instances (incarnation)
    WHERE pg_catalog.abs(created_at / 1000 - 1577836800000 - (incarnation >> 22)) > 60000;
CREATE INDEX instances_released ON perdure.instances (released_by, released_until) WHERE released_by IS NOT NULL;

-- One row per turn, append-only.
CREATE TABLE perdure.history (
    incarnation bigint NOT NULL,
    execution bigint NOT NULL,
    first_event bigint NOT NULL,
    last_event bigint NOT NULL,
    at bigint NOT NULL,
    committed_at bigint NOT NULL,
    crc bigint NOT NULL,
    format integer NOT NULL,
    encoding text COLLATE "C" NOT NULL,
    data bytea NOT NULL,
    PRIMARY KEY (incarnation, execution, last_event)
);

CREATE TABLE perdure.messages (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    incarnation bigint NOT NULL,
    execution bigint,
    due_at bigint NOT NULL,
    control boolean NOT NULL DEFAULT false,
    -- Whether it was added without holding the row of its instance, which may have closed meanwhile.
    loose boolean NOT NULL DEFAULT false,
    body bytea NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
CREATE INDEX messages_by_instance ON perdure.messages (incarnation, due_at, seq);
-- Not found by its instance here, also by plans that are made while there is nothing in it.
CREATE INDEX messages_by_due ON perdure.messages (due_at) INCLUDE (incarnation, seq);
CREATE INDEX messages_loose ON perdure.messages (incarnation) WHERE loose;
CREATE INDEX messages_of_control ON perdure.messages (incarnation, due_at) WHERE control;

CREATE TABLE perdure.dedup_keys (
    incarnation bigint NOT NULL,
    dedup_key text COLLATE "C" NOT NULL,
    PRIMARY KEY (incarnation, dedup_key)
);

-- What an instance keeps under keys for others to read. Those that have a `passing_since` are removed in time.
CREATE TABLE perdure.entries (
    incarnation bigint NOT NULL,
    shelf text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    passing_since bigint,
    value bytea NOT NULL,
    PRIMARY KEY (incarnation, shelf, key)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
CREATE INDEX entries_passing ON perdure.entries (passing_since) WHERE passing_since IS NOT NULL;

CREATE TABLE perdure.timers (
    incarnation bigint NOT NULL,
    execution bigint NOT NULL,
    event bigint NOT NULL,
    fire_at bigint NOT NULL,
    PRIMARY KEY (incarnation, execution, event)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
CREATE INDEX timers_by_due ON perdure.timers (fire_at) INCLUDE (incarnation);

-- An owned task is in no index but that of its key: most are born owned, run, and are deleted by the next turn.
CREATE TABLE perdure.tasks (
    incarnation bigint NOT NULL,
    execution bigint NOT NULL,
    event bigint NOT NULL,
    owner bigint,
    priority bigint NOT NULL DEFAULT 0,
    scheduled_at bigint NOT NULL,
    due_at bigint NOT NULL,
    delayed boolean NOT NULL DEFAULT false,
    start_by bigint,
    deadline bigint,
    attempt bigint NOT NULL DEFAULT 1,
    deliveries bigint NOT NULL DEFAULT 1,
    name text COLLATE "C" NOT NULL,
    tag text COLLATE "C",
    session text COLLATE "C",
    -- What keeps it out of the line: see `storage/lanes.py`.
    lane text COLLATE "C",
    -- The limit that it needs a place of, with the numbers that were declared with it.
    limit_key text COLLATE "C",
    concurrency bigint,
    rate bigint,
    per_us bigint,
    -- Whether it was too late when its owner took it, so that it has no place.
    late boolean NOT NULL DEFAULT false,
    retry bytea,
    input bytea NOT NULL,
    -- The message by which its instance gets the place of the limit, which is then its own: owner 0.
    permit bytea,
    last_error bytea,
    -- What the activity last said of its progress.
    details bytea,
    stopped boolean NOT NULL DEFAULT false,
    held_at bigint,
    held_because text COLLATE "C",
    -- When it was called, if it is not to be called again before somebody knows what came of that.
    began_at bigint,
    PRIMARY KEY (incarnation, execution, event)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
CREATE INDEX tasks_in_line ON perdure.tasks (priority DESC, scheduled_at, incarnation, execution, event)
    WHERE owner IS NULL AND NOT delayed AND lane IS NULL;
CREATE INDEX tasks_in_lanes ON perdure.tasks (lane, priority DESC, scheduled_at, incarnation, execution, event)
    WHERE owner IS NULL AND lane IS NOT NULL;
CREATE INDEX tasks_due_in_lanes ON perdure.tasks (due_at) WHERE owner IS NULL AND lane IS NOT NULL;
CREATE INDEX tasks_of_limits ON perdure.tasks (limit_key, scheduled_at, incarnation, execution, event)
    WHERE limit_key IS NOT NULL;
CREATE INDEX tasks_with_place ON perdure.tasks (limit_key)
    WHERE limit_key IS NOT NULL AND owner IS NOT NULL AND NOT late;
CREATE INDEX tasks_delayed ON perdure.tasks (due_at) WHERE owner IS NULL AND delayed AND lane IS NULL;
CREATE INDEX tasks_held ON perdure.tasks (held_at, incarnation, execution, event) WHERE held_because IS NOT NULL;
CREATE INDEX tasks_by_name ON perdure.tasks (name, due_at) WHERE owner IS NULL AND permit IS NULL;
CREATE INDEX tasks_expiring ON perdure.tasks ((LEAST(start_by, deadline)))
    WHERE owner IS NULL AND LEAST(start_by, deadline) IS NOT NULL;
CREATE INDEX tasks_of_sessions ON perdure.tasks (session, owner) WHERE session IS NOT NULL;

CREATE TABLE perdure.workers (
    number bigint PRIMARY KEY,
    name text COLLATE "C" NOT NULL,
    pid bigint NOT NULL,
    host text COLLATE "C" NOT NULL,
    started_at bigint NOT NULL,
    lease_us bigint NOT NULL,
    lease_until bigint NOT NULL,
    joined bigint GENERATED ALWAYS AS IDENTITY,
    orchestrations text[] COLLATE "C" NOT NULL,
    activities text[] COLLATE "C" NOT NULL,
    -- Which tags it serves: none, these, or all but these.
    untagged boolean NOT NULL DEFAULT true,
    tags text[] COLLATE "C" NOT NULL DEFAULT '{}',
    other_tags boolean NOT NULL DEFAULT false,
    -- How many sessions it has at once, and after how long without use no more.
    sessions bigint NOT NULL,
    session_idle_us bigint NOT NULL
) WITH (fillfactor = 50);

-- Which worker runs the tasks of a session, for as long as it lives and until it has not used it for a while.
CREATE TABLE perdure.sessions (
    session text COLLATE "C" PRIMARY KEY,
    worker bigint NOT NULL,
    used_at bigint NOT NULL,
    idle_us bigint NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
CREATE INDEX sessions_of_workers ON perdure.sessions (worker);

-- How many of a limit key began at a moment, for its rate; it counts until then.
CREATE TABLE perdure.starts (
    limit_key text COLLATE "C" NOT NULL,
    at bigint NOT NULL,
    until bigint NOT NULL,
    many bigint NOT NULL,
    PRIMARY KEY (limit_key, at)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
CREATE INDEX starts_over ON perdure.starts (until);

-- A row of its own, because a commit writes it, and no commit may wait for a heartbeat.
CREATE TABLE perdure.tokens (
    worker bigint PRIMARY KEY,
    token bytea
) WITH (fillfactor = 50);

-- What a worker has code for; `version` is empty for an activity.
CREATE TABLE perdure.abilities (
    worker bigint NOT NULL,
    kind text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    version text COLLATE "C" NOT NULL,
    -- The engine that it has: it takes no execution that needs a later one.
    reader bigint NOT NULL,
    PRIMARY KEY (worker, kind, name, version)
);

-- What is on its way to other shards.
CREATE TABLE perdure.outbox (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    shard bigint NOT NULL,
    incarnation bigint NOT NULL,
    sent_at bigint NOT NULL,
    body bytea NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
CREATE INDEX outbox_by_sender ON perdure.outbox (shard, incarnation, seq);
CREATE INDEX outbox_by_shard ON perdure.outbox (shard, seq);

-- What has come from them, and whether it was passed over.
CREATE TABLE perdure.received (
    sender bigint NOT NULL,
    seq bigint NOT NULL,
    incarnation bigint NOT NULL,
    skipped boolean NOT NULL,
    PRIMARY KEY (sender, seq, incarnation)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);

-- Which shard this is, if it is one.
CREATE TABLE perdure.shard (
    number bigint NOT NULL,
    count bigint NOT NULL,
    fleet text COLLATE "C" NOT NULL,
    lone boolean PRIMARY KEY DEFAULT true CHECK (lone)
);

-- The highest incarnation of all that were deleted: what was begun later has never been. There may be lower ones, too, as
-- nobody waits for who writes another.
CREATE TABLE perdure.gone (
    incarnation bigint PRIMARY KEY
);

-- Counts commits, so that whoever can't be notified can ask whether there have been any.
CREATE SEQUENCE perdure.changes AS bigint;

-- The store's clock. It is read by whoever holds the locks already.
CREATE FUNCTION perdure.clock_us() RETURNS bigint LANGUAGE sql VOLATILE PARALLEL SAFE AS
$$ SELECT (EXTRACT(EPOCH FROM pg_catalog.clock_timestamp()) * 1000000)::bigint $$;

CREATE VIEW perdure.instance_records AS
SELECT
    i.id, i.incarnation, i.name, i.version, i.status, i.execution, i.created_at,
    GREATEST(i.changed_at, h.committed_at) AS updated_at,
    COALESCE(h.last_event, 0) AS last_event,
    i.owner, i.cancel_requested, i.custom_status_version, i.held_because, i.root,
    i.parent_id, i.parent_incarnation, i.parent_execution, i.parent_event, i.deliveries, i.min_reader, i.resets,
    i.attributes, i.custom_status, i.output, i.error
FROM perdure.instances AS i
LEFT JOIN LATERAL (
    SELECT t.last_event, t.committed_at FROM perdure.history AS t
    WHERE t.incarnation = i.incarnation AND t.execution = i.execution
    ORDER BY t.last_event DESC LIMIT 1
) AS h ON true;
