-- Every statement of the storage; where one does what a statement of SQLite's does, it has that one's name. A batch goes
-- in as columns, one array for each, and all statements of a step go to the server in one round trip.
--
-- The order in which locks are taken, so that no two commits wait for each other: the worker's own row, rows of
-- instances by incarnation, all else. Whoever holds the row of an instance holds all that belongs to it; claims, which
-- come last, wait for nobody.

-- name: begin
-- A transaction whose statements each see what others have committed before it.
BEGIN ISOLATION LEVEL READ COMMITTED;

-- name: limits
-- For this transaction alone, where a pooler shares the session: how long a statement, a lock and our silence may take.
SELECT
    pg_catalog.set_config('statement_timeout', $1::text, true),
    pg_catalog.set_config('lock_timeout', $2::text, true),
    pg_catalog.set_config('idle_in_transaction_session_timeout', $3::text, true);

-- name: session_limits
-- The same for the whole session, where it is ours; and no compiler for plans whose costs are only guessed.
SELECT
    pg_catalog.set_config('jit', 'off', false),
    pg_catalog.set_config('statement_timeout', $1::text, false),
    pg_catalog.set_config('lock_timeout', $2::text, false),
    pg_catalog.set_config('idle_in_transaction_session_timeout', $3::text, false);

-- name: plan_by_index
-- For the session that commits: what it does is small and found by an index; a bitmap of an index does not remember which
-- of its entries are dead, of which there are many where rows come and go; and to plan a claim takes longer than to claim.
SELECT
    pg_catalog.set_config('plan_cache_mode', 'force_generic_plan', false),
    pg_catalog.set_config('enable_seqscan', 'off', false), pg_catalog.set_config('enable_bitmapscan', 'off', false),
    pg_catalog.set_config('enable_hashjoin', 'off', false), pg_catalog.set_config('enable_mergejoin', 'off', false);

-- name: plan_transaction_by_index
-- The same for a transaction, where a pooler shares the session; nothing is prepared there, so each plan is for its values.
SELECT
    pg_catalog.set_config('jit', 'off', true),
    pg_catalog.set_config('enable_seqscan', 'off', true), pg_catalog.set_config('enable_bitmapscan', 'off', true),
    pg_catalog.set_config('enable_hashjoin', 'off', true), pg_catalog.set_config('enable_mergejoin', 'off', true);

-- name: plan_by_value
-- For what is asked in the same round trip: let plans be made for the values, of which some are rare, and rows be read in
-- the order of an index until there are enough, not all at first.
SELECT
    pg_catalog.set_config('jit', 'off', true), pg_catalog.set_config('plan_cache_mode', 'force_custom_plan', true),
    pg_catalog.set_config('enable_bitmapscan', 'off', true);

-- name: replan
-- Let the plans that were made for smaller tables be made again.
DISCARD PLANS;

-- name: relax
-- Let a commit be acknowledged before it is on the disk: for this transaction alone, or for the session.
SELECT pg_catalog.set_config('synchronous_commit', 'off', $1::boolean);

-- name: commit
-- Make it durable.
COMMIT;

-- name: rollback
-- Nothing happened.
ROLLBACK;

-- name: savepoint
-- What we do in somebody else's transaction can be undone without it; how long it waits for locks is given back after.
SAVEPOINT perdure_items;

-- name: savepoint_limit
-- How long a statement waits for another's lock from here on, and how long it did before.
SELECT pg_catalog.current_setting('lock_timeout'), pg_catalog.set_config('lock_timeout', $1::text, true);

-- name: restore_limit
-- As it was.
SELECT pg_catalog.set_config('lock_timeout', $1::text, true);

-- name: tell_of_start
-- Tell others, until this transaction ends, that it is about to take the id $2 in the schema $1; nobody waits for that.
SELECT pg_catalog.pg_advisory_xact_lock_shared(pg_catalog.hashtext($1::text), pg_catalog.hashtext($2::text)) IS NULL;

-- name: open_starts
-- Those of these ids that transactions of others are about to take in the schema $1.
SELECT i.id FROM unnest($2::text[]) AS i (id)
WHERE EXISTS (
    SELECT 1 FROM pg_catalog.pg_locks AS l
    WHERE l.locktype = 'advisory' AND l.objsubid = 2 AND l.pid <> pg_catalog.pg_backend_pid()
    AND l.classid = (pg_catalog.hashtext($1::text)::bigint & 4294967295)::oid
    AND l.objid = (pg_catalog.hashtext(i.id)::bigint & 4294967295)::oid
    AND l.database = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database())
);

-- name: limit_idling
-- Who has taken an id and then says nothing is not waited for without end; a lower limit of their own stays.
SELECT CASE
    WHEN pg_catalog.current_setting('idle_in_transaction_session_timeout')::interval
        BETWEEN '1 millisecond'::interval AND $1::text::interval THEN NULL
    ELSE pg_catalog.set_config('idle_in_transaction_session_timeout', $1::text, true)
END;

-- name: keep_savepoint
-- It is part of the transaction.
RELEASE SAVEPOINT perdure_items;

-- name: undo_savepoint
-- It has not happened; the transaction goes on.
ROLLBACK TO SAVEPOINT perdure_items;

-- name: whereabouts
-- Which store this is, as far as others can't be mistaken for it.
SELECT
    pg_catalog.current_database()::text,
    pg_catalog.to_regclass('perdure.instances')::oid::bigint,
    (SELECT v.applied_at FROM perdure.schema_versions AS v ORDER BY v.version LIMIT 1);

-- name: mark_transaction
-- Something by which this transaction can be told from a later one.
SELECT pg_catalog.set_config('perdure_lent.mark', $1::text, true);

-- name: transaction_mark
-- What it was marked with, null or empty for another.
SELECT pg_catalog.current_setting('perdure_lent.mark', true);

-- name: check_constraints
-- What a commit would refuse is refused now.
SET CONSTRAINTS ALL IMMEDIATE;

-- name: reset_session
-- Leave nothing in a session that was lent.
RESET ALL;

-- name: server
-- Whom we talk to: the backend, its encoding, whether it may write, whether a commit is on its disk when it says so.
SELECT
    pg_catalog.pg_backend_pid()::bigint, pg_catalog.current_setting('server_encoding'),
    pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('transaction_read_only'),
    pg_catalog.current_setting('fsync'), pg_catalog.current_setting('synchronous_commit');

-- name: clock
-- The store's time.
SELECT perdure.clock_us();

-- name: relations
-- What the schema has: whether it is there, whether it is ours, and whether there is anything in it.
SELECT
    EXISTS (SELECT 1 FROM pg_catalog.pg_namespace AS n WHERE n.nspname = $1::text),
    EXISTS (
        SELECT 1 FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
        WHERE n.nspname = $1::text AND c.relname = 'schema_versions'
    ),
    EXISTS (
        SELECT 1 FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
        WHERE n.nspname = $1::text
    );

-- name: lock_schema
-- Let one process at a time change the schema; until the end of the transaction.
SELECT pg_catalog.pg_advisory_xact_lock($1::bigint);

-- name: schema_version
-- The newest schema that has been applied.
SELECT COALESCE(MAX(version), 0)::bigint FROM perdure.schema_versions;

-- name: add_schema_version
-- This schema has been applied.
INSERT INTO perdure.schema_versions (version, applied_at) VALUES ($1::bigint, perdure.clock_us());

-- name: changes
-- A number that moves when somebody has committed.
SELECT last_value - CASE WHEN is_called THEN 0 ELSE 1 END FROM perdure.changes;

-- name: count_change
-- Move it.
SELECT pg_catalog.nextval('perdure.changes');

-- name: notify
-- Wake whoever listens on these channels, once each.
SELECT pg_catalog.pg_notify(c, '') FROM unnest($1::text[]) AS c;

-- name: worker
-- The worker's place among registrations, the last lane in which something waits, and whether something waits in lanes
-- for places; no row when somebody buried it. Until this transaction ends, nobody can.
SELECT
    joined,
    (SELECT MAX(t.lane) FROM perdure.tasks AS t WHERE t.owner IS NULL AND t.lane IS NOT NULL),
    (SELECT MIN(t.lane) FROM perdure.tasks AS t WHERE t.owner IS NULL AND t.lane IS NOT NULL) < 'q',
    true
FROM perdure.workers WHERE number = $1::bigint FOR KEY SHARE;

-- name: worker_after
-- The same, and whether one of these commits was its last: nobody knows that over a new connection.
SELECT
    joined,
    (SELECT MAX(t.lane) FROM perdure.tasks AS t WHERE t.owner IS NULL AND t.lane IS NOT NULL),
    (SELECT MIN(t.lane) FROM perdure.tasks AS t WHERE t.owner IS NULL AND t.lane IS NOT NULL) < 'q',
    EXISTS (SELECT 1 FROM perdure.tokens AS k WHERE k.worker = number AND k.token = ANY($2::bytea[]))
FROM perdure.workers WHERE number = $1::bigint FOR KEY SHARE;

-- name: remember_token
-- What the worker's last commit was.
UPDATE perdure.tokens SET token = $2::bytea WHERE worker = $1::bigint;

-- name: is_last_token
-- Whether the worker's last commit was this one; waits for the end of one that is still under way.
SELECT t.token IS NOT DISTINCT FROM $2::bytea
FROM perdure.workers AS w JOIN perdure.tokens AS t ON t.worker = w.number
WHERE w.number = $1::bigint FOR UPDATE OF w;

-- name: lock_instances
-- The instances of these incarnations and ids, and nobody else's until the end of the transaction.
SELECT
    incarnation, id, status, owner, execution, version, parent_incarnation, ready_at, held_after, held_because,
    released_by, released_until, cancel_requested, custom_status_version, deliveries
FROM perdure.instances
WHERE incarnation IN (
    SELECT a FROM unnest($1::bigint[]) AS a
    UNION SELECT n.incarnation FROM perdure.instances AS n WHERE n.id = ANY($2::text[])
)
ORDER BY incarnation FOR NO KEY UPDATE;

-- name: lock_instances_by_incarnation
-- The same where no ids are asked for.
SELECT
    incarnation, id, status, owner, execution, version, parent_incarnation, ready_at, held_after, held_because,
    released_by, released_until, cancel_requested, custom_status_version, deliveries
FROM perdure.instances
WHERE incarnation = ANY($1::bigint[])
ORDER BY incarnation FOR NO KEY UPDATE;

-- name: share_instances
-- The same for who adds messages in a transaction that others end: the instances can't be removed meanwhile, and go on.
SELECT
    incarnation, id, status, owner, execution, version, parent_incarnation, ready_at, held_after, held_because,
    released_by, released_until, cancel_requested, custom_status_version, deliveries
FROM perdure.instances
WHERE incarnation IN (
    SELECT a FROM unnest($1::bigint[]) AS a
    UNION SELECT n.incarnation FROM perdure.instances AS n WHERE n.id = ANY($2::text[])
)
ORDER BY incarnation FOR KEY SHARE;

-- name: last_events
-- Of turns, as incarnation and execution: the last event that is stored for each, and when; 0 for none.
SELECT COALESCE(h.last_event, 0), COALESCE(h.committed_at, 0)
FROM unnest($1::bigint[], $2::bigint[]) WITH ORDINALITY AS j (incarnation, execution, place)
LEFT JOIN LATERAL (
    SELECT t.last_event, t.committed_at FROM perdure.history AS t
    WHERE t.incarnation = j.incarnation AND t.execution = j.execution
    ORDER BY t.last_event DESC LIMIT 1
) AS h ON true
ORDER BY j.place;

-- name: judge_tasks
-- Of these tasks: those that the worker owns, and the lanes to which they would go back.
SELECT t.incarnation, t.execution, t.event, t.lane
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS j (incarnation, execution, event)
JOIN perdure.tasks AS t
    ON t.incarnation = j.incarnation AND t.execution = j.execution AND t.event = j.event
WHERE t.owner = $4::bigint;

-- name: task_standings
-- For each of these tasks whether it was stopped, or null when worker $4 does not own it.
SELECT t.stopped
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) WITH ORDINALITY AS j (incarnation, execution, event, place)
LEFT JOIN perdure.tasks AS t
    ON t.incarnation = j.incarnation AND t.execution = j.execution AND t.event = j.event AND t.owner = $4::bigint
ORDER BY j.place;

-- name: known_keys
-- Of ids and the keys of deliveries to them: those that were there before.
SELECT i.id, d.dedup_key
FROM unnest($1::text[], $2::text[]) AS j (id, dedup_key)
JOIN perdure.instances AS i ON i.id = j.id
JOIN perdure.dedup_keys AS d ON d.incarnation = i.incarnation AND d.dedup_key = j.dedup_key;

-- name: records
-- The records of instances.
SELECT r.* FROM perdure.instance_records AS r WHERE r.incarnation = ANY($1::bigint[]);

-- name: parent_is_open
-- Whether there is an open instance of this incarnation; it does not close before the transaction ends.
SELECT p.incarnation FROM perdure.instances AS p
WHERE p.incarnation = $1::bigint AND p.status NOT IN ('completed', 'failed', 'cancelled', 'terminated', 'moved')
FOR SHARE;

-- name: instance_is_there
-- Whether there is an instance of this incarnation; it is there until the transaction ends.
SELECT p.incarnation FROM perdure.instances AS p WHERE p.incarnation = $1::bigint FOR SHARE;

-- name: open_children
-- The open children of an instance, locked; with the columns of `lock_instances`.
SELECT
    incarnation, id, status, owner, execution, version, parent_incarnation, ready_at, held_after, held_because,
    released_by, released_until, cancel_requested, custom_status_version, deliveries
FROM perdure.instances
WHERE parent_incarnation = $1::bigint AND status NOT IN ('completed', 'failed', 'cancelled', 'terminated', 'moved')
ORDER BY incarnation FOR NO KEY UPDATE;

-- name: lock_tree
-- The instance and everything below it, locked.
SELECT i.incarnation FROM perdure.instances AS i
WHERE i.incarnation IN (
    WITH RECURSIVE tree (incarnation) AS (
        SELECT $1::bigint
        UNION
        SELECT c.incarnation FROM tree JOIN perdure.instances AS c ON c.parent_incarnation = tree.incarnation
    )
    SELECT tree.incarnation FROM tree
)
ORDER BY i.incarnation FOR UPDATE;

-- name: tree
-- The instance and everything below it: incarnation, and whether it is open.
WITH RECURSIVE tree (incarnation) AS (
    SELECT $1::bigint
    UNION
    SELECT c.incarnation FROM tree JOIN perdure.instances AS c ON c.parent_incarnation = tree.incarnation
)
SELECT i.incarnation, i.status NOT IN ('completed', 'failed', 'cancelled', 'terminated', 'moved')
FROM tree JOIN perdure.instances AS i ON i.incarnation = tree.incarnation;

-- name: delete_instances
-- Instances.
DELETE FROM perdure.instances WHERE incarnation = ANY($1::bigint[]);

-- name: delete_history
-- What belongs to deleted ones: their histories.
DELETE FROM perdure.history WHERE incarnation = ANY($1::bigint[]);

-- name: delete_keys
-- And the keys of what was sent to them.
DELETE FROM perdure.dedup_keys WHERE incarnation = ANY($1::bigint[]);

-- name: past_executions
-- The executions of an instance up to $2 whose last turn was before $3, if that is given.
SELECT execution FROM perdure.history
WHERE incarnation = $1::bigint AND execution <= $2::bigint
GROUP BY execution HAVING $3::bigint IS NULL OR MAX(at) < $3::bigint;

-- name: delete_executions
-- The histories of some executions.
DELETE FROM perdure.history AS h
USING unnest($1::bigint[], $2::bigint[]) AS j (incarnation, execution)
WHERE h.incarnation = j.incarnation AND h.execution = j.execution;

-- name: delete_entries
-- And what they kept.
DELETE FROM perdure.entries WHERE incarnation = ANY($1::bigint[]);

-- name: held_task_events
-- The held tasks of an instance, or that of one event, or those that are held for a reason, or were about to be called at
-- one moment.
SELECT event FROM perdure.tasks
WHERE incarnation = $1::bigint AND held_because IS NOT NULL AND ($2::bigint IS NULL OR event = $2::bigint)
AND ($3::text IS NULL OR held_because = $3::text) AND ($4::bigint IS NULL OR began_at = $4::bigint);

-- name: resume_tasks
-- Let the held tasks of an instance, or that of one event, or those that are held for a reason, go on; with $4 those that
-- were about to be called then, which may be called once more.
UPDATE perdure.tasks SET
    held_at = NULL, held_because = NULL, deliveries = 1, due_at = $5::bigint, delayed = false,
    began_at = CASE WHEN $4::bigint IS NULL THEN began_at END
WHERE incarnation = $1::bigint AND held_because IS NOT NULL AND ($2::bigint IS NULL OR event = $2::bigint)
AND ($3::text IS NULL OR held_because = $3::text) AND ($4::bigint IS NULL OR began_at = $4::bigint);

-- name: hold_task
-- Set a task aside: at the end of time it is due again.
UPDATE perdure.tasks SET
    owner = NULL, late = false, held_at = $4::bigint, held_because = $5::text, due_at = $6::bigint, delayed = true, start_by = NULL
WHERE incarnation = $1::bigint AND execution = $2::bigint AND event = $3::bigint;

-- name: task_is_held
-- Whether a task is held, with $4 since then.
SELECT held_because IS NOT NULL AND ($4::bigint IS NULL OR held_at = $4::bigint) FROM perdure.tasks
WHERE incarnation = $1::bigint AND execution = $2::bigint AND event = $3::bigint;

-- name: try_instance
-- Count a delivery of an instance.
UPDATE perdure.instances SET deliveries = deliveries + 1 WHERE incarnation = $1::bigint;

-- name: try_task
-- Count a delivery of a task.
UPDATE perdure.tasks SET deliveries = deliveries + 1
WHERE incarnation = $1::bigint AND execution = $2::bigint AND event = $3::bigint;

-- name: clear_tasks
-- The tasks of closed or deleted instances.
DELETE FROM perdure.tasks WHERE incarnation = ANY($1::bigint[]);

-- name: clear_timers
-- Their timers.
DELETE FROM perdure.timers WHERE incarnation = ANY($1::bigint[]);

-- name: clear_messages
-- Their messages.
DELETE FROM perdure.messages WHERE incarnation = ANY($1::bigint[]);

-- name: add_parcels
-- What goes to other shards, in order; $4 is when.
INSERT INTO perdure.outbox (shard, incarnation, sent_at, body)
SELECT j.shard, j.incarnation, $4::bigint, j.body
FROM unnest($1::bigint[], $2::bigint[], $3::bytea[]) WITH ORDINALITY AS j (shard, incarnation, body, place)
ORDER BY j.place;

-- name: remove_parcels
-- Of the numbers of parcels: those that were in the outbox, which they leave.
DELETE FROM perdure.outbox WHERE seq = ANY($1::bigint[]) RETURNING seq;

-- name: parcels
-- What is in the outbox, at most $1, sent before $2 if that is given.
SELECT seq, shard, incarnation, sent_at, body
FROM perdure.outbox
WHERE $2::bigint IS NULL OR sent_at < $2::bigint
ORDER BY seq
LIMIT $1::bigint;

-- name: parcels_for
-- The same for shard $3 only.
SELECT seq, shard, incarnation, sent_at, body
FROM perdure.outbox
WHERE shard = $3::bigint AND ($2::bigint IS NULL OR sent_at < $2::bigint)
ORDER BY shard, seq
LIMIT $1::bigint;

-- name: parcels_of
-- The same of the instances $4 only.
SELECT seq, shard, incarnation, sent_at, body
FROM perdure.outbox
WHERE shard = $3::bigint AND incarnation = ANY($4::bigint[]) AND ($2::bigint IS NULL OR sent_at < $2::bigint)
ORDER BY seq
LIMIT $1::bigint;

-- name: lowest_parcel
-- The lowest number in the outbox, or one above all that were there.
SELECT COALESCE(
    (SELECT MIN(seq) FROM perdure.outbox),
    (
        SELECT COALESCE(s.last_value, 0) + 1
        FROM pg_catalog.pg_sequences AS s
        WHERE s.schemaname = $1::text AND s.sequencename = 'outbox_seq_seq'
    )
)::bigint;

-- name: received_parcels
-- Of parcels of shard $1, as numbers and incarnations: those that were received, with whether they were passed over.
SELECT r.seq, r.incarnation, r.skipped
FROM unnest($2::bigint[], $3::bigint[]) AS j (seq, incarnation)
JOIN perdure.received AS r ON r.sender = $1::bigint AND r.seq = j.seq AND r.incarnation = j.incarnation;

-- name: add_received
-- Parcels of shard $1 were received.
INSERT INTO perdure.received (sender, seq, incarnation, skipped)
SELECT $1::bigint, j.seq, j.incarnation, j.skipped
FROM unnest($2::bigint[], $3::bigint[], $4::boolean[]) AS j (seq, incarnation, skipped)
ORDER BY j.seq;

-- name: forget_received
-- Parcels of shard $1 below $2 won't come again; how many there were.
WITH gone AS (
    DELETE FROM perdure.received WHERE sender = $1::bigint AND seq < $2::bigint RETURNING 1
)
SELECT COUNT(*) FROM gone;

-- name: shard
-- Which shard this is.
SELECT number, count, fleet FROM perdure.shard;

-- name: identity
-- What no other store has, whatever name the server is reached by: when it started, the database, the schema $1.
SELECT pg_catalog.concat_ws(
    ' ', pg_catalog.pg_postmaster_start_time()::text, d.oid::text, n.oid::text
)
FROM pg_catalog.pg_database AS d CROSS JOIN pg_catalog.pg_namespace AS n
WHERE d.datname = pg_catalog.current_database() AND n.nspname = $1::text;

-- name: become_shard
-- It is this one, if it was none.
INSERT INTO perdure.shard (number, count, fleet)
VALUES ($1::bigint, $2::bigint, $3::text) ON CONFLICT DO NOTHING;

-- name: put_entries
-- What instances keep under keys.
INSERT INTO perdure.entries (incarnation, shelf, key, passing_since, value)
SELECT j.* FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::bytea[]) AS j
ON CONFLICT (incarnation, shelf, key) DO UPDATE SET
    passing_since = excluded.passing_since, value = excluded.value;

-- name: remove_entries
-- What they keep no more.
DELETE FROM perdure.entries AS e
USING unnest($1::bigint[], $2::text[], $3::text[]) AS j (incarnation, shelf, key)
WHERE e.incarnation = j.incarnation AND e.shelf = j.shelf AND e.key = j.key;

-- name: there_are_passing_entries
-- Whether something was kept for a while only, and long enough.
SELECT EXISTS (SELECT 1 FROM perdure.entries WHERE passing_since <= $1::bigint);

-- name: there_are_past_starts
-- Whether there is something at $1 that counts no more for a rate.
SELECT EXISTS (SELECT 1 FROM perdure.starts WHERE until <= $1::bigint);

-- name: forget_starts
-- What counts no more.
DELETE FROM perdure.starts WHERE until <= $1::bigint;

-- name: remove_passing_entries
-- What was kept for a while only, and long enough.
DELETE FROM perdure.entries WHERE passing_since <= $1::bigint;

-- name: entries
-- What an instance keeps on a shelf, in order of keys.
SELECT key, value FROM perdure.entries WHERE incarnation = $1::bigint AND shelf = $2::text ORDER BY key;

-- name: entries_of_keys
-- The same of these keys.
SELECT key, value FROM perdure.entries
WHERE incarnation = $1::bigint AND shelf = $2::text AND key = ANY($3::text[])
ORDER BY key;

-- name: remember_gone
-- Instances were removed of which $1 has the highest incarnation. Who does the same meanwhile is not waited for.
WITH lower AS (
    DELETE FROM perdure.gone WHERE incarnation IN (
        SELECT g.incarnation FROM perdure.gone AS g WHERE g.incarnation < $1::bigint FOR UPDATE SKIP LOCKED
    )
)
INSERT INTO perdure.gone (incarnation)
SELECT $1::bigint WHERE NOT EXISTS (SELECT 1 FROM perdure.gone AS g WHERE g.incarnation >= $1::bigint);

-- name: is_gone
-- Whether an instance of this incarnation, or of a higher one, was ever removed.
SELECT EXISTS (SELECT 1 FROM perdure.gone AS g WHERE g.incarnation >= $1::bigint);

-- name: end_executions_tasks
-- Tasks of executions that end by a continue-as-new.
DELETE FROM perdure.tasks AS t
USING unnest($1::bigint[], $2::bigint[]) AS j (incarnation, execution)
WHERE t.incarnation = j.incarnation AND t.execution = j.execution;

-- name: end_executions_timers
-- Their timers.
DELETE FROM perdure.timers AS t
USING unnest($1::bigint[], $2::bigint[]) AS j (incarnation, execution)
WHERE t.incarnation = j.incarnation AND t.execution = j.execution;

-- name: end_executions_messages
-- The outcomes of their activities.
DELETE FROM perdure.messages AS m
USING unnest($1::bigint[], $2::bigint[]) AS j (incarnation, execution)
WHERE m.incarnation = j.incarnation AND m.execution = j.execution;

-- name: consume_messages
-- Messages that turns have taken in, of their own instance only. Found one by one, and then known by their places: a plan
-- that is made when there is no message walks over all that ever were. Nobody else changes them.
DELETE FROM perdure.messages WHERE ctid = ANY(ARRAY(
    SELECT m.ctid
    FROM unnest($1::bigint[], $2::bigint[]) AS j (incarnation, seq)
    CROSS JOIN LATERAL (SELECT n.ctid, n.incarnation FROM perdure.messages AS n WHERE n.seq = j.seq OFFSET 0) AS m
    WHERE m.incarnation = j.incarnation
));

-- name: remove_tasks
-- Tasks that have ended or are not wanted any more.
DELETE FROM perdure.tasks AS t
USING unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS j (incarnation, execution, event)
WHERE t.incarnation = j.incarnation AND t.execution = j.execution AND t.event = j.event;

-- name: remove_timers
-- Timers that have fired or are not wanted any more; found as `consume_messages` does.
DELETE FROM perdure.timers WHERE ctid = ANY(ARRAY(
    SELECT t.ctid
    FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS j (incarnation, execution, event)
    CROSS JOIN LATERAL (
        SELECT n.ctid FROM perdure.timers AS n
        WHERE n.incarnation = j.incarnation AND n.execution = j.execution AND n.event = j.event OFFSET 0
    ) AS t
));

-- name: beat_tasks
-- What activities say of their progress, or that they are about to be called.
UPDATE perdure.tasks AS t SET
    details = COALESCE(j.details, t.details), began_at = COALESCE(j.began_at, t.began_at),
    start_by = CASE WHEN j.began_at IS NULL THEN t.start_by END
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bytea[], $5::bigint[])
    AS j (incarnation, execution, event, details, began_at)
WHERE t.incarnation = j.incarnation AND t.execution = j.execution AND t.event = j.event;

-- name: retry_tasks
-- Put tasks back for another attempt.
UPDATE perdure.tasks AS t SET
    owner = NULL, late = false, attempt = j.attempt, start_by = NULL, due_at = j.due_at, delayed = j.delayed,
    last_error = j.last_error, details = COALESCE(j.details, t.details), deliveries = LEAST(t.deliveries, 3),
    began_at = CASE WHEN t.began_at IS DISTINCT FROM j.began_at THEN t.began_at END
FROM unnest(
    $1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::boolean[], $7::bytea[], $8::bytea[],
    $9::bigint[]
) AS j (incarnation, execution, event, attempt, due_at, delayed, last_error, details, began_at)
WHERE t.incarnation = j.incarnation AND t.execution = j.execution AND t.event = j.event;

-- name: release_tasks
-- Put tasks back untouched.
UPDATE perdure.tasks AS t SET
    owner = NULL, late = false, due_at = j.due_at, delayed = j.delayed, details = COALESCE(j.details, t.details),
    deliveries = LEAST(t.deliveries, 3)
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::boolean[], $6::bytea[])
    AS j (incarnation, execution, event, due_at, delayed, details)
WHERE t.incarnation = j.incarnation AND t.execution = j.execution AND t.event = j.event;

-- name: add_next_starts
-- The starts of next executions, each before all that waits for its instance; "waiting" is what this commit adds.
INSERT INTO perdure.messages (incarnation, due_at, body)
SELECT
    j.incarnation,
    LEAST(
        $4::bigint,
        j.waiting - 1,
        (SELECT MIN(m.due_at) FROM perdure.messages AS m WHERE m.incarnation = j.incarnation) - 1,
        (SELECT MIN(t.fire_at) FROM perdure.timers AS t WHERE t.incarnation = j.incarnation) - 1
    ),
    j.body
FROM unnest($1::bigint[], $2::bigint[], $3::bytea[]) AS j (incarnation, waiting, body);

-- name: change_instances
-- What has become of instances; payloads that are NULL stay as they are.
UPDATE perdure.instances AS i SET
    changed_at = GREATEST(i.changed_at, j.changed_at), status = j.status, owner = j.owner, execution = j.execution, version = j.version,
    ready_at = j.ready_at, held_after = j.held_after, held_because = j.held_because, released_by = j.released_by,
    released_until = j.released_until, cancel_requested = j.cancel_requested,
    custom_status_version = j.custom_status_version, custom_status = COALESCE(j.custom_status, i.custom_status),
    output = COALESCE(j.output, i.output), error = COALESCE(j.error, i.error), deliveries = j.deliveries,
    min_reader = COALESCE(j.min_reader, i.min_reader)
FROM unnest(
    $1::bigint[], $2::text[], $3::bigint[], $4::bigint[], $5::text[], $6::bigint[], $7::bigint[], $8::text[],
    $9::bigint[], $10::bigint[], $11::boolean[], $12::bigint[], $13::bytea[], $14::bytea[], $15::bigint[],
    $16::bytea[], $17::bigint[], $18::bigint[]
) AS j (
    incarnation, status, owner, execution, version, ready_at, held_after, held_because, released_by, released_until,
    cancel_requested, custom_status_version, custom_status, output, changed_at, error, deliveries, min_reader
)
WHERE i.incarnation = j.incarnation;

-- name: release_instances
-- What has become of instances whose history went no further: who has them.
UPDATE perdure.instances AS i SET owner = j.owner, released_by = j.released_by, released_until = j.released_until
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[])
    AS j (incarnation, owner, released_by, released_until)
WHERE i.incarnation = j.incarnation;

-- name: create_instances
-- New instances; their start messages are added with the others.
INSERT INTO perdure.instances (
    incarnation, id, name, version, status, owner, execution, ready_at, root, slot, parent_id, parent_incarnation,
    parent_execution, parent_event, cancel_requested, custom_status_version, held_after, held_because, released_by,
    released_until, attributes, custom_status, output, error, min_reader, changed_at, created_at
)
SELECT j.*, $25::bigint
FROM unnest(
    $1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::bigint[], $8::bigint[], $9::text[],
    $10::bigint[], $11::text[], $12::bigint[], $13::bigint[], $14::bigint[], $15::boolean[], $16::bigint[],
    $17::bigint[], $18::text[], $19::bigint[], $20::bigint[], $21::bytea[], $22::bytea[], $23::bytea[], $24::bytea[],
    $26::bigint[], $27::bigint[]
) AS j;

-- name: append_history
-- The events of turns.
INSERT INTO perdure.history (
    incarnation, execution, first_event, last_event, at, crc, format, encoding, data, committed_at
)
SELECT j.*
FROM unnest(
    $1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::text[],
    $9::bytea[], $10::bigint[]
) AS j;

-- name: add_plain_tasks
-- Activities to run that ask for nothing special, due at once.
INSERT INTO perdure.tasks (incarnation, execution, event, owner, name, input, retry, scheduled_at, due_at)
SELECT j.*, $8::bigint, $8::bigint
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::text[], $6::bytea[], $7::bytea[]) AS j
ON CONFLICT (incarnation, execution, event) DO UPDATE SET
    owner = excluded.owner, name = excluded.name, input = excluded.input, retry = excluded.retry,
    scheduled_at = excluded.scheduled_at, due_at = excluded.due_at, delayed = false;

-- name: move_tasks
-- The same, each in the row of an activity of its instance that is over, by execution $9 and event $10: one row is written
-- instead of two. Where there is no such row, or one of its own, it is added, and what is over goes.
WITH j AS MATERIALIZED (
    SELECT u.* FROM unnest(
        $1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::text[], $6::bytea[], $7::bytea[], $9::bigint[],
        $10::bigint[]
    ) AS u (incarnation, execution, event, owner, name, input, retry, past_execution, past_event)
),
moved AS (
    UPDATE perdure.tasks AS t SET
        execution = j.execution, event = j.event, owner = j.owner, name = j.name, input = j.input, retry = j.retry,
        scheduled_at = $8::bigint, due_at = $8::bigint,
        priority = DEFAULT, delayed = DEFAULT, start_by = DEFAULT, deadline = DEFAULT, attempt = DEFAULT,
        deliveries = DEFAULT, tag = DEFAULT, session = DEFAULT, lane = DEFAULT, limit_key = DEFAULT,
        concurrency = DEFAULT, rate = DEFAULT, per_us = DEFAULT, late = DEFAULT, permit = DEFAULT,
        last_error = DEFAULT, details = DEFAULT, stopped = DEFAULT, held_at = DEFAULT, held_because = DEFAULT,
        began_at = DEFAULT
    FROM j
    WHERE t.incarnation = j.incarnation AND t.execution = j.past_execution AND t.event = j.past_event
    AND NOT EXISTS (
        SELECT 1 FROM perdure.tasks AS x
        WHERE x.incarnation = j.incarnation AND x.execution = j.execution AND x.event = j.event
    )
    RETURNING t.incarnation, t.execution, t.event
),
added AS MATERIALIZED (
    SELECT j.* FROM j
    WHERE (j.incarnation, j.execution, j.event) NOT IN (SELECT m.incarnation, m.execution, m.event FROM moved AS m)
),
removed AS (
    DELETE FROM perdure.tasks AS t USING added AS a
    WHERE t.incarnation = a.incarnation AND t.execution = a.past_execution AND t.event = a.past_event
)
INSERT INTO perdure.tasks (incarnation, execution, event, owner, name, input, retry, scheduled_at, due_at)
SELECT a.incarnation, a.execution, a.event, a.owner, a.name, a.input, a.retry, $8::bigint, $8::bigint FROM added AS a
ON CONFLICT (incarnation, execution, event) DO UPDATE SET
    owner = excluded.owner, name = excluded.name, input = excluded.input, retry = excluded.retry,
    scheduled_at = excluded.scheduled_at, due_at = excluded.due_at, delayed = false;

-- name: stop_tasks
-- Tasks that shall stop: their total deadline is now, $4.
UPDATE perdure.tasks AS t SET stopped = true, deadline = LEAST(t.deadline, $4::bigint)
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS j (incarnation, execution, event)
WHERE t.incarnation = j.incarnation AND t.execution = j.execution AND t.event = j.event;

-- name: add_tasks
-- Activities to run, due at once.
INSERT INTO perdure.tasks (
    incarnation, execution, event, owner, name, input, retry, priority, start_by, deadline, tag, session,
    lane, limit_key, concurrency, rate, per_us, permit, scheduled_at, due_at
)
SELECT j.*, $19::bigint, $19::bigint
FROM unnest(
    $1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::text[], $6::bytea[], $7::bytea[], $8::bigint[],
    $9::bigint[], $10::bigint[], $11::text[], $12::text[], $13::text[],
    $14::text[], $15::bigint[], $16::bigint[], $17::bigint[], $18::bytea[]
) AS j
ON CONFLICT (incarnation, execution, event) DO UPDATE SET
    owner = excluded.owner, name = excluded.name, input = excluded.input, retry = excluded.retry,
    priority = excluded.priority, start_by = excluded.start_by,
    deadline = excluded.deadline, tag = excluded.tag, session = excluded.session,
    lane = excluded.lane, limit_key = excluded.limit_key, concurrency = excluded.concurrency, rate = excluded.rate,
    per_us = excluded.per_us, permit = excluded.permit, scheduled_at = excluded.scheduled_at, due_at = excluded.due_at,
    delayed = false;

-- name: add_timers
-- Timers of turns.
INSERT INTO perdure.timers (incarnation, execution, event, fire_at)
SELECT j.* FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[]) AS j
ON CONFLICT (incarnation, execution, event) DO UPDATE SET fire_at = excluded.fire_at;

-- name: add_messages
-- Messages, in order of arrival.
INSERT INTO perdure.messages (incarnation, execution, due_at, control, body)
SELECT j.incarnation, j.execution, j.due_at, j.control, j.body
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::boolean[], $5::bytea[])
    WITH ORDINALITY AS j (incarnation, execution, due_at, control, body, place)
ORDER BY j.place;

-- name: add_loose_messages
-- Messages of a transaction that others end: their instance may have closed by then.
INSERT INTO perdure.messages (incarnation, execution, due_at, control, body, loose)
SELECT j.incarnation, j.execution, j.due_at, j.control, j.body, true
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::boolean[], $5::bytea[])
    WITH ORDINALITY AS j (incarnation, execution, due_at, control, body, place)
ORDER BY j.place;

-- name: there_are_stray_messages
-- Whether such a message has come to an instance that has closed.
SELECT EXISTS (
    SELECT 1 FROM perdure.messages AS m
    CROSS JOIN LATERAL (
        -- Kept apart, so that no plan begins with the instances.
        SELECT n.status FROM perdure.instances AS n WHERE n.incarnation = m.incarnation OFFSET 0
    ) AS i
    WHERE m.loose AND i.status IN ('completed', 'failed', 'cancelled', 'terminated', 'moved')
);

-- name: remove_stray_messages
-- Those that have.
DELETE FROM perdure.messages AS m USING perdure.instances AS i
WHERE m.loose AND i.incarnation = m.incarnation
AND i.status IN ('completed', 'failed', 'cancelled', 'terminated', 'moved');

-- name: add_dedup_keys
-- The keys of what clients have sent.
INSERT INTO perdure.dedup_keys (incarnation, dedup_key)
SELECT j.* FROM unnest($1::bigint[], $2::text[]) AS j;

-- name: part_suits
-- Whether the worker $2, registered in place $3, can run the instance i: what was held while it was there already, it has
-- failed at.
(i.status IN ('pending', 'running') OR (i.status = 'held' AND i.held_after < $3::bigint)) AND EXISTS (
    SELECT 1 FROM perdure.abilities AS a
    WHERE a.worker = $2::bigint AND a.kind = 'orchestration' AND a.name = i.name
    AND (i.version IS NULL OR a.version = i.version) AND a.reader >= i.min_reader
);

-- name: part_is_copy
-- Whether the instance i is a copy, whose reason begins with $4.
(i.status = 'suspended' AND COALESCE(pg_catalog.starts_with(i.held_because, $4::text), false));

-- name: part_of_due
-- The instance of the row `waiting`, if the worker $2 may have it, and whether it may go on with it at $1: kept apart, so that no
-- plan begins with the instances, of which there may be millions.
(
    SELECT i.incarnation, i.status, i.held_because,
        (i.released_by IS DISTINCT FROM $2::bigint OR i.released_until <= $1::bigint) AND {{part_suits}} AS runs
    FROM perdure.instances AS i
    WHERE i.incarnation = waiting.incarnation AND (i.owner IS NULL OR i.owner = $2::bigint) OFFSET 0
);

-- name: part_is_wanted
-- Whether the worker can do anything with the instance i: go on with it, or see to its control messages.
(
    i.runs OR (EXISTS (
        SELECT 1 FROM perdure.messages AS c
        WHERE c.control AND c.incarnation = i.incarnation AND c.due_at <= $1::bigint
    ) AND NOT {{part_is_copy}})
);

-- name: claim_instances
-- Give the worker $2, registered in place $3, at time $1 up to $5 instances for which something is due: how many there are, the
-- record of each, and its messages and timers, up to $6 of each kind and $7 bytes; of one that the worker may not run, its
-- control messages alone. An instance that has changed since we looked is not taken: what we saw of its messages need not
-- be there any more. Looked for is what fell due at $8 or after.
WITH RECURSIVE fired (seen, incarnations, dues, runs, since, wanted) AS (
    -- Instances by their first due timers. As many timers as instances are wanted are read at once, and again behind them
    -- without those instances, as long as they are of fewer: to look for the first of each instance's own reads all that it
    -- has for each that it has.
    SELECT '{}'::bigint[], '{}'::bigint[], '{}'::bigint[], '{}'::boolean[], $8::bigint, 2 * $5::bigint + 1
    UNION ALL
    SELECT f.seen || b.incarnations, b.incarnations, b.dues, b.runs, b.last, CASE WHEN b.is_full THEN f.wanted - b.many ELSE 0 END
    FROM fired AS f
    CROSS JOIN LATERAL (
        SELECT
            ARRAY_AGG(d.incarnation) AS incarnations, ARRAY_AGG(d.due) AS dues, ARRAY_AGG(d.runs) AS runs,
            MAX(d.due) AS last, COUNT(*) > 2 * $5::bigint AS is_full, COUNT(DISTINCT d.incarnation) AS many
        FROM (
            SELECT waiting.fire_at AS due, waiting.incarnation, i.runs
            FROM perdure.timers AS waiting CROSS JOIN LATERAL {{part_of_due}} AS i
            WHERE waiting.fire_at BETWEEN f.since AND $1::bigint AND waiting.incarnation NOT IN (SELECT UNNEST(f.seen))
            AND {{part_is_wanted}}
            ORDER BY waiting.fire_at, waiting.incarnation
            LIMIT 2 * $5::bigint + 1
        ) AS d
    ) AS b
    WHERE f.wanted > 0
),
due AS MATERIALIZED (
    (
        SELECT waiting.due_at AS due, waiting.incarnation, i.runs
        FROM perdure.messages AS waiting CROSS JOIN LATERAL {{part_of_due}} AS i
        WHERE waiting.due_at BETWEEN $8::bigint AND $1::bigint
        AND waiting.seq = (
            SELECT e.seq FROM perdure.messages AS e
            WHERE e.incarnation = waiting.incarnation AND e.due_at >= $8::bigint ORDER BY e.due_at, e.seq LIMIT 1
        )
        AND {{part_is_wanted}}
        ORDER BY waiting.due_at, waiting.incarnation
        LIMIT 2 * $5::bigint + 1
    )
    UNION ALL
    (SELECT UNNEST(f.dues) AS due, UNNEST(f.incarnations), UNNEST(f.runs) FROM fired AS f)
),
found AS MATERIALIZED (
    SELECT d.incarnation, MIN(d.due) AS due, BOOL_OR(d.runs) AS runs FROM due AS d
    GROUP BY d.incarnation ORDER BY MIN(d.due), d.incarnation LIMIT 2 * $5::bigint + 1
),
seen AS MATERIALIZED (
    SELECT i.incarnation, f.due, f.runs, i.xmin AS row_of
    FROM found AS f JOIN perdure.instances AS i ON i.incarnation = f.incarnation
),
locked AS MATERIALIZED (
    SELECT i.incarnation, s.due, s.runs
    FROM seen AS s JOIN perdure.instances AS i ON i.incarnation = s.incarnation AND i.xmin = s.row_of
    ORDER BY s.due, i.incarnation
    LIMIT $5::bigint
    FOR NO KEY UPDATE OF i SKIP LOCKED
),
taken AS (
    UPDATE perdure.instances AS i SET owner = $2::bigint, released_by = NULL, released_until = NULL
    FROM locked AS l
    WHERE i.incarnation = l.incarnation AND i.owner IS NULL
    RETURNING i.incarnation
)
SELECT c.found, x.*
FROM (SELECT COUNT(*) AS found FROM found) AS c
LEFT JOIN (
    SELECT
        r.id, r.incarnation, r.name, r.version, r.status, r.execution, r.created_at, r.updated_at, r.last_event,
        $2::bigint AS owner, r.cancel_requested, r.custom_status_version, r.held_because, r.root, r.parent_id,
        r.parent_incarnation, r.parent_execution, r.parent_event, r.deliveries, r.min_reader, r.resets, r.attributes,
        r.custom_status, r.output, r.error,
        m.present, m.dues, m.seqs, m.bodies, t.fire_ats, t.events, l.runs, l.due
    FROM locked AS l
    JOIN perdure.instance_records AS r ON r.incarnation = l.incarnation
    CROSS JOIN LATERAL (
        SELECT
            COUNT(*) AS present,
            ARRAY_AGG(q.due_at ORDER BY q.due_at, q.seq) FILTER (WHERE q.before <= $7::bigint) AS dues,
            ARRAY_AGG(q.seq ORDER BY q.due_at, q.seq) FILTER (WHERE q.before <= $7::bigint) AS seqs,
            ARRAY_AGG(q.body ORDER BY q.due_at, q.seq) FILTER (WHERE q.before <= $7::bigint) AS bodies
        FROM (
            SELECT
                p.due_at, p.seq, p.body,
                SUM(pg_catalog.octet_length(p.body)) OVER (ORDER BY p.due_at, p.seq)
                    - pg_catalog.octet_length(p.body) AS before
            FROM (
                (
                    SELECT n.due_at, n.seq, n.body FROM perdure.messages AS n
                    WHERE l.runs AND n.incarnation = l.incarnation AND n.due_at <= $1::bigint
                    ORDER BY n.due_at, n.seq LIMIT $6::bigint
                )
                UNION ALL
                (
                    SELECT n.due_at, n.seq, n.body FROM perdure.messages AS n
                    WHERE NOT l.runs AND n.control AND n.incarnation = l.incarnation AND n.due_at <= $1::bigint
                    ORDER BY n.due_at, n.seq LIMIT $6::bigint
                )
            ) AS p
        ) AS q
    ) AS m
    CROSS JOIN LATERAL (
        SELECT ARRAY_AGG(q.fire_at ORDER BY q.fire_at, q.event) AS fire_ats,
            ARRAY_AGG(q.event ORDER BY q.fire_at, q.event) AS events
        FROM (
            SELECT n.fire_at, n.event
            FROM (SELECT e.* FROM perdure.timers AS e WHERE l.runs AND e.incarnation = l.incarnation OFFSET 0) AS n
            WHERE n.fire_at <= $1::bigint
            ORDER BY n.fire_at, n.event LIMIT $6::bigint
        ) AS q
    ) AS t
) AS x ON true
ORDER BY x.due, x.incarnation;

-- name: part_in_line
-- What a task t of the line is that a worker can run.
t.owner IS NULL AND NOT t.delayed AND t.lane IS NULL AND t.due_at <= $1::bigint
AND (SELECT w.untagged FROM perdure.workers AS w WHERE w.number = $2::bigint) AND EXISTS (
    SELECT 1 FROM perdure.abilities AS a
    WHERE a.worker = $2::bigint AND a.kind = 'activity' AND a.name = t.name
);

-- name: part_line
-- The tasks of the line that a worker can run, and such as are too late whatever they are: of each priority $4 those that
-- were scheduled at $5 or after, all of the priorities from $6 to $7, of those that were delayed what fell due at $8 or
-- after, and of the others at $9 or after.
line AS MATERIALIZED (
    SELECT x.*
    FROM unnest($4::bigint[], $5::bigint[]) AS f (priority, since)
    CROSS JOIN LATERAL (
        SELECT t.incarnation, t.execution, t.event, t.priority, t.scheduled_at, t.ctid AS place
        FROM perdure.tasks AS t
        WHERE t.priority = f.priority AND t.scheduled_at >= f.since AND {{part_in_line}}
        ORDER BY t.scheduled_at, t.incarnation, t.execution, t.event
        LIMIT $3::bigint + 1
        FOR UPDATE OF t SKIP LOCKED
    ) AS x
    UNION ALL
    SELECT x.*
    FROM unnest($6::bigint[], $7::bigint[]) AS f (lowest, highest)
    CROSS JOIN LATERAL (
        SELECT t.incarnation, t.execution, t.event, t.priority, t.scheduled_at, t.ctid AS place
        FROM perdure.tasks AS t
        WHERE t.priority BETWEEN f.lowest AND f.highest AND {{part_in_line}}
        ORDER BY t.priority DESC, t.scheduled_at, t.incarnation, t.execution, t.event
        LIMIT $3::bigint + 1
        FOR UPDATE OF t SKIP LOCKED
    ) AS x
),
later AS MATERIALIZED (
    SELECT t.incarnation, t.execution, t.event, t.priority, t.scheduled_at, t.ctid AS place
    FROM perdure.tasks AS t
    WHERE t.owner IS NULL AND t.delayed AND t.lane IS NULL AND t.due_at BETWEEN $8::bigint AND $1::bigint
    AND (SELECT w.untagged FROM perdure.workers AS w WHERE w.number = $2::bigint) AND EXISTS (
        SELECT 1 FROM perdure.abilities AS a
        WHERE a.worker = $2::bigint AND a.kind = 'activity' AND a.name = t.name
    )
    ORDER BY t.priority DESC, t.scheduled_at, t.incarnation, t.execution, t.event
    LIMIT $3::bigint + 1
    FOR UPDATE OF t SKIP LOCKED
),
expired AS MATERIALIZED (
    SELECT t.incarnation, t.execution, t.event, t.priority, t.scheduled_at, t.ctid AS place
    FROM perdure.tasks AS t
    WHERE t.owner IS NULL AND LEAST(t.start_by, t.deadline) BETWEEN $9::bigint AND $1::bigint
    ORDER BY t.priority DESC, t.scheduled_at, t.incarnation, t.execution, t.event
    LIMIT $3::bigint + 1
    FOR UPDATE OF t SKIP LOCKED
);

-- name: part_claimed
-- What a worker gets of the tasks that were found and of those that were taken.
SELECT
    (SELECT COUNT(*) FROM found),
    t.incarnation, i.id, i.name, COALESCE(i.version, ''), t.execution, t.event, t.name, t.input, t.scheduled_at,
    t.attempt, t.deliveries, t.retry, t.tag, t.session, t.priority, t.deadline, t.start_by, t.last_error, t.details,
    t.stopped, t.began_at IS NOT NULL, t.limit_key IS NOT NULL AND NOT t.late
FROM (SELECT 1) AS one
LEFT JOIN taken AS t ON true
LEFT JOIN perdure.instances AS i ON i.incarnation = t.incarnation
ORDER BY t.priority DESC, t.scheduled_at, t.incarnation, t.execution, t.event;

-- name: part_named
-- Lanes, which are given in JSON, and what their names say.
named AS MATERIALIZED (
    SELECT
        l.lane, pg_catalog.split_part(l.lane, E'\n', 1) = 'places' AS places,
        pg_catalog.split_part(l.lane, E'\n', 1) = 'tasks of sessions' AS sessions,
        NULLIF(pg_catalog.split_part(l.lane, E'\n', 2), '') AS tag,
        NULLIF(pg_catalog.split_part(l.lane, E'\n', 3), '') AS key
    FROM lanes AS l WHERE l.lane IS NOT NULL
);

-- name: part_lanes
-- The lanes from which something can be taken, as `lock_limits` has found them.
lanes (lane) AS MATERIALIZED (
    SELECT l.lane FROM pg_catalog.json_array_elements_text(
        NULLIF(pg_catalog.current_setting('perdure_store.lanes', true), '')::json
    ) AS l (lane)
),
{{part_named}};

-- name: part_limits
-- The limits whose keys this transaction has locked, as they were declared last, and how many may begin at $1.
limits AS MATERIALIZED (
    SELECT
        k.key, n.rate, n.per_us,
        LEAST(
            n.concurrency - (
                SELECT COUNT(*) FROM perdure.tasks AS p
                WHERE p.limit_key = k.key AND p.owner IS NOT NULL AND NOT p.late
            ),
            n.rate - (
                SELECT COALESCE(SUM(s.many), 0) FROM perdure.starts AS s
                WHERE s.limit_key = k.key AND s.at > $1::bigint - n.per_us
            )
        )::bigint AS free
    FROM pg_catalog.json_array_elements_text(
        NULLIF(pg_catalog.current_setting('perdure_store.limits', true), '')::json
    ) AS k (key)
    CROSS JOIN LATERAL (
        SELECT d.concurrency, d.rate, d.per_us FROM perdure.tasks AS d
        WHERE d.limit_key = k.key
        ORDER BY d.scheduled_at DESC, d.incarnation DESC, d.execution DESC, d.event DESC LIMIT 1
    ) AS n
);

-- name: part_open_sessions
-- The sessions of which worker $2 may take tasks, as this transaction has found out.
open_sessions AS MATERIALIZED (
    SELECT k.session
    FROM pg_catalog.json_array_elements_text(
        NULLIF(pg_catalog.current_setting('perdure_store.sessions', true), '')::json
    ) AS k (session)
    WHERE NOT EXISTS (
        SELECT 1 FROM perdure.sessions AS s WHERE s.session = k.session AND s.worker <> $2::bigint
    )
);

-- name: part_had_sessions
-- The lanes of sessions that worker $2 serves and in which a task may begin; and the sessions that it has, with whether
-- one of their tasks waits in these that it can run, and whether it runs one, at $1.
served AS MATERIALIZED (
    SELECT n.lane
    FROM named AS n JOIN perdure.workers AS w ON w.number = $2::bigint
    WHERE n.sessions AND CASE WHEN n.tag IS NULL THEN w.untagged ELSE (n.tag = ANY(w.tags)) <> w.other_tags END
    AND (n.key IS NULL OR EXISTS (SELECT 1 FROM limits AS m WHERE m.key = n.key AND m.free > 0))
),
had AS MATERIALIZED (
    SELECT
        s.session, s.used_at,
        EXISTS (
            SELECT 1 FROM perdure.tasks AS t
            WHERE t.session = s.session AND t.owner IS NULL AND t.due_at <= $1::bigint
            AND (LEAST(t.start_by, t.deadline) IS NULL OR LEAST(t.start_by, t.deadline) > $1::bigint)
            AND t.lane IN (SELECT v.lane FROM served AS v) AND EXISTS (
                SELECT 1 FROM perdure.abilities AS a
                WHERE a.worker = $2::bigint AND a.kind = 'activity' AND a.name = t.name
            )
        ) AS waits,
        EXISTS (SELECT 1 FROM perdure.tasks AS t WHERE t.session = s.session AND t.owner = $2::bigint) AS runs
    FROM perdure.sessions AS s WHERE s.worker = $2::bigint
);

-- name: part_of_limits
-- What waits in lanes of limits for a place that it can have, numbered key by key: worker $2, time $1.
of_limits AS MATERIALIZED (
    SELECT
        w.*, pg_catalog.row_number() OVER (
            PARTITION BY w.key ORDER BY w.priority DESC, w.scheduled_at, w.incarnation, w.execution, w.event
        ) AS place
    FROM (
        SELECT n.key, n.places, m.free, m.rate, m.per_us, x.*
        FROM named AS n
        JOIN limits AS m ON m.key = n.key AND m.free > 0
        CROSS JOIN LATERAL (
            SELECT t.incarnation, t.execution, t.event, t.priority, t.scheduled_at
            FROM perdure.tasks AS t
            WHERE t.owner IS NULL AND t.lane = n.lane AND t.due_at <= $1::bigint
            AND (LEAST(t.start_by, t.deadline) IS NULL OR LEAST(t.start_by, t.deadline) > $1::bigint)
            AND CASE
                WHEN n.places THEN EXISTS (
                    SELECT 1 FROM perdure.instances AS i
                    WHERE i.incarnation = t.incarnation AND i.status = 'running'
                )
                ELSE EXISTS (
                    SELECT 1 FROM perdure.abilities AS a
                    WHERE a.worker = $2::bigint AND a.kind = 'activity' AND a.name = t.name
                )
            END
            AND (NOT n.sessions OR t.session IN (SELECT o.session FROM open_sessions AS o))
            ORDER BY t.priority DESC, t.scheduled_at, t.incarnation, t.execution, t.event
            LIMIT m.free
        ) AS x
        WHERE n.places OR EXISTS (
            SELECT 1 FROM perdure.workers AS w WHERE w.number = $2::bigint
            AND CASE WHEN n.tag IS NULL THEN w.untagged ELSE (n.tag = ANY(w.tags)) <> w.other_tags END
        )
    ) AS w
);

-- name: lock_limits
-- Go from lane to lane of those in which something waits, and lock the keys that have a place, as nobody else may count
-- them meanwhile; remember these, and what lanes there are beside those of full keys: whether another claim has one.
-- Who frees a place claims with the same commit, or wakes others after it: no key is missed that is full for now.
WITH RECURSIVE lanes (lane) AS (
    SELECT MIN(t.lane) FROM perdure.tasks AS t WHERE t.owner IS NULL AND t.lane IS NOT NULL
    UNION ALL
    -- So that a long one costs a single step.
    SELECT (SELECT MIN(t.lane) FROM perdure.tasks AS t WHERE t.owner IS NULL AND t.lane > lanes.lane)
    FROM lanes WHERE lanes.lane IS NOT NULL
),
{{part_named}},
open AS MATERIALIZED (
    SELECT k.key
    FROM (SELECT DISTINCT n.key FROM named AS n WHERE n.key IS NOT NULL) AS k
    CROSS JOIN LATERAL (
        SELECT d.concurrency FROM perdure.tasks AS d
        WHERE d.limit_key = k.key
        ORDER BY d.scheduled_at DESC, d.incarnation DESC, d.execution DESC, d.event DESC LIMIT 1
    ) AS n
    WHERE n.concurrency IS NULL OR n.concurrency > (
        SELECT COUNT(*) FROM perdure.tasks AS p WHERE p.limit_key = k.key AND p.owner IS NOT NULL AND NOT p.late
    )
),
tried AS MATERIALIZED (
    SELECT o.key, pg_catalog.pg_try_advisory_xact_lock(
        pg_catalog.hashtextextended(o.key, 'perdure.tasks'::pg_catalog.regclass::pg_catalog.oid::bigint)
    ) AS locked
    FROM open AS o
)
SELECT
    COALESCE((SELECT BOOL_OR(NOT t.locked) FROM tried AS t), false),
    pg_catalog.set_config(
        'perdure_store.limits',
        COALESCE((SELECT pg_catalog.json_agg(t.key) FROM tried AS t WHERE t.locked)::text, '[]'), true
    ),
    pg_catalog.set_config(
        'perdure_store.lanes',
        COALESCE((
            SELECT pg_catalog.json_agg(n.lane) FROM named AS n
            WHERE n.key IS NULL OR n.key IN (SELECT t.key FROM tried AS t WHERE t.locked)
        )::text, '[]'), true
    );

-- name: lock_sessions
-- Lock the sessions of which worker $2 may take tasks at $1, as nobody else may take or free them meanwhile, and remember
-- which ones: whether another claim has one of them. Of each lane the first $3 tasks of sessions that nobody has count.
WITH {{part_lanes}}, {{part_limits}}, {{part_had_sessions}},
kept AS MATERIALIZED (
    SELECT s.session
    FROM perdure.sessions AS s JOIN had AS h ON h.session = s.session AND h.waits
    WHERE s.worker = $2::bigint
    FOR UPDATE OF s SKIP LOCKED
),
room (many) AS MATERIALIZED (
    SELECT GREATEST(w.sessions - (SELECT COUNT(*) FROM had AS h WHERE h.waits OR h.runs), 0)
    FROM perdure.workers AS w WHERE w.number = $2::bigint
),
nobodys AS MATERIALIZED (
    SELECT x.*
    FROM served AS v
    CROSS JOIN LATERAL (
        SELECT t.session, t.priority, t.scheduled_at, t.incarnation, t.execution, t.event
        FROM perdure.tasks AS t
        WHERE t.owner IS NULL AND t.lane = v.lane AND t.due_at <= $1::bigint
        AND (LEAST(t.start_by, t.deadline) IS NULL OR LEAST(t.start_by, t.deadline) > $1::bigint)
        AND EXISTS (
            SELECT 1 FROM perdure.abilities AS a
            WHERE a.worker = $2::bigint AND a.kind = 'activity' AND a.name = t.name
        )
        AND NOT EXISTS (SELECT 1 FROM perdure.sessions AS s WHERE s.session = t.session)
        ORDER BY t.priority DESC, t.scheduled_at, t.incarnation, t.execution, t.event
        LIMIT $3::bigint
    ) AS x
    WHERE (SELECT r.many FROM room AS r) > 0
),
tried AS MATERIALIZED (
    SELECT c.session, pg_catalog.pg_try_advisory_xact_lock(
        pg_catalog.hashtextextended(c.session, 'perdure.sessions'::pg_catalog.regclass::pg_catalog.oid::bigint)
    ) AS locked
    FROM (
        SELECT f.session
        FROM (
            SELECT DISTINCT ON (n.session) n.* FROM nobodys AS n
            ORDER BY n.session, n.priority DESC, n.scheduled_at, n.incarnation, n.execution, n.event
        ) AS f
        ORDER BY f.priority DESC, f.scheduled_at, f.incarnation, f.execution, f.event
        LIMIT (SELECT r.many FROM room AS r)
    ) AS c
)
SELECT
    EXISTS (SELECT 1 FROM tried AS t WHERE NOT t.locked),
    pg_catalog.set_config(
        'perdure_store.sessions',
        COALESCE((
            SELECT pg_catalog.json_agg(o.session)::text
            FROM (SELECT k.session FROM kept AS k UNION ALL SELECT t.session FROM tried AS t WHERE t.locked) AS o
        ), '[]'),
        true
    );

-- name: give_up_sessions
-- Free what worker $2 has of sessions beyond its number and does not need at $1, the longest unused first.
WITH {{part_lanes}}, {{part_limits}}, {{part_had_sessions}},
rest AS MATERIALIZED (
    SELECT h.session FROM had AS h
    WHERE NOT h.waits AND NOT h.runs
    ORDER BY h.used_at, h.session
    LIMIT GREATEST(
        (SELECT COUNT(*) FROM had) - (SELECT w.sessions FROM perdure.workers AS w WHERE w.number = $2::bigint), 0
    )
)
DELETE FROM perdure.sessions WHERE session IN (
    SELECT s.session FROM perdure.sessions AS s JOIN rest AS r ON r.session = s.session
    FOR UPDATE OF s SKIP LOCKED
);

-- name: look_at_sessions
-- Whether `keep_sessions` or `free_idle_sessions` would find any at $1, for worker $2 and the part $3.
SELECT EXISTS (
    SELECT 1 FROM perdure.sessions AS s
    WHERE CASE
        WHEN EXISTS (SELECT 1 FROM perdure.tasks AS t WHERE t.session = s.session AND t.owner = s.worker)
        THEN s.worker = $2::bigint AND s.used_at + s.idle_us / $3::bigint <= $1::bigint
        ELSE s.used_at + s.idle_us <= $1::bigint
    END
);

-- name: keep_sessions
-- Those of worker $2 are used now, $1, of which it runs a task, where a part of their time, $3, has passed.
UPDATE perdure.sessions SET used_at = $1::bigint WHERE session IN (
    SELECT s.session FROM perdure.sessions AS s
    WHERE s.worker = $2::bigint AND s.used_at + s.idle_us / $3::bigint <= $1::bigint AND EXISTS (
        SELECT 1 FROM perdure.tasks AS t WHERE t.session = s.session AND t.owner = s.worker
    )
    FOR UPDATE OF s SKIP LOCKED
);

-- name: free_idle_sessions
-- Free those that nobody has used for long enough at $1. Who takes a task of one says that it is used, and then it is
-- none of these.
DELETE FROM perdure.sessions WHERE session IN (
    SELECT s.session FROM perdure.sessions AS s
    WHERE s.used_at + s.idle_us <= $1::bigint AND NOT EXISTS (
        SELECT 1 FROM perdure.tasks AS t WHERE t.session = s.session AND t.owner = s.worker
    )
    FOR UPDATE OF s SKIP LOCKED
)
RETURNING session;

-- name: give_places
-- Give places of the locked limits to the instances that are to hold them, at $1 by worker $2: the owners of those.
WITH {{part_lanes}}, {{part_limits}}, {{part_open_sessions}}, {{part_of_limits}},
locked AS MATERIALIZED (
    SELECT t.incarnation, t.execution, t.event, t.permit, o.key, o.rate, o.per_us, o.priority, o.scheduled_at
    FROM of_limits AS o
    JOIN perdure.tasks AS t
        ON t.incarnation = o.incarnation AND t.execution = o.execution AND t.event = o.event AND t.owner IS NULL
    WHERE o.places AND o.place <= o.free
    FOR UPDATE OF t SKIP LOCKED
),
given AS (
    UPDATE perdure.tasks AS t SET owner = 0
    FROM locked AS l
    WHERE t.incarnation = l.incarnation AND t.execution = l.execution AND t.event = l.event
),
begun AS (
    INSERT INTO perdure.starts AS s (limit_key, at, until, many)
    SELECT l.key, $1::bigint, $1::bigint + l.per_us, COUNT(*) FROM locked AS l
    WHERE l.rate IS NOT NULL GROUP BY l.key, l.per_us
    ON CONFLICT (limit_key, at) DO UPDATE SET many = s.many + excluded.many, until = excluded.until
),
told AS (
    INSERT INTO perdure.messages (incarnation, execution, due_at, body)
    SELECT l.incarnation, l.execution, GREATEST($1::bigint, i.ready_at), l.permit
    FROM locked AS l JOIN perdure.instances AS i ON i.incarnation = l.incarnation
    ORDER BY l.priority DESC, l.scheduled_at, l.incarnation, l.execution, l.event
)
SELECT DISTINCT i.owner FROM locked AS l JOIN perdure.instances AS i ON i.incarnation = l.incarnation;

-- name: claim_tasks
-- Give the worker $2 at time $1 up to $3 tasks that it can run, and such as are too late whatever they are: how many
-- there are, and each.
WITH {{part_line}},
found AS MATERIALIZED (
    SELECT l.* FROM line AS l UNION SELECT l.* FROM later AS l UNION SELECT e.* FROM expired AS e
),
first AS MATERIALIZED (
    SELECT f.* FROM found AS f
    ORDER BY f.priority DESC, f.scheduled_at, f.incarnation, f.execution, f.event LIMIT $3::bigint
),
taken AS (
    UPDATE perdure.tasks AS t SET owner = $2::bigint
    FROM first AS f
    WHERE t.ctid = f.place
    RETURNING t.*
)
{{part_claimed}};

-- name: claim_tasks_in_lanes
-- The same, and what the lanes have for it.
WITH {{part_line}}, {{part_lanes}}, {{part_limits}}, {{part_open_sessions}}, {{part_of_limits}},
admitted AS MATERIALIZED (
    SELECT o.incarnation, o.execution, o.event, o.key, o.rate, o.per_us FROM of_limits AS o
    WHERE NOT o.places AND o.place <= o.free
    UNION ALL
    SELECT x.incarnation, x.execution, x.event, NULL, NULL, NULL
    FROM named AS n
    CROSS JOIN LATERAL (
        SELECT t.incarnation, t.execution, t.event FROM perdure.tasks AS t
        WHERE t.owner IS NULL AND t.lane = n.lane AND t.due_at <= $1::bigint
        AND (LEAST(t.start_by, t.deadline) IS NULL OR LEAST(t.start_by, t.deadline) > $1::bigint)
        AND EXISTS (
            SELECT 1 FROM perdure.abilities AS a
            WHERE a.worker = $2::bigint AND a.kind = 'activity' AND a.name = t.name
        )
        AND (NOT n.sessions OR t.session IN (SELECT o.session FROM open_sessions AS o))
        ORDER BY t.priority DESC, t.scheduled_at, t.incarnation, t.execution, t.event
        LIMIT $3::bigint + 1
    ) AS x
    WHERE n.key IS NULL AND EXISTS (
        SELECT 1 FROM perdure.workers AS w
        WHERE w.number = $2::bigint
        AND CASE WHEN n.tag IS NULL THEN w.untagged ELSE (n.tag = ANY(w.tags)) <> w.other_tags END
    )
),
laned AS MATERIALIZED (
    SELECT t.incarnation, t.execution, t.event, t.priority, t.scheduled_at, t.ctid AS place
    FROM admitted AS a
    JOIN perdure.tasks AS t
        ON t.incarnation = a.incarnation AND t.execution = a.execution AND t.event = a.event AND t.owner IS NULL
    FOR UPDATE OF t SKIP LOCKED
),
found AS MATERIALIZED (
    SELECT l.* FROM line AS l UNION SELECT l.* FROM later AS l UNION SELECT e.* FROM expired AS e
    UNION SELECT l.* FROM laned AS l
),
first AS MATERIALIZED (
    SELECT f.* FROM found AS f
    ORDER BY f.priority DESC, f.scheduled_at, f.incarnation, f.execution, f.event LIMIT $3::bigint
),
taken AS (
    UPDATE perdure.tasks AS t
    SET owner = $2::bigint, late = COALESCE(LEAST(t.start_by, t.deadline) <= $1::bigint, false)
    FROM first AS f
    WHERE t.ctid = f.place
    RETURNING t.*
),
begun AS (
    INSERT INTO perdure.starts AS s (limit_key, at, until, many)
    SELECT a.key, $1::bigint, $1::bigint + a.per_us, COUNT(*)
    FROM admitted AS a
    JOIN first AS f ON f.incarnation = a.incarnation AND f.execution = a.execution AND f.event = a.event
    WHERE a.rate IS NOT NULL GROUP BY a.key, a.per_us
    ON CONFLICT (limit_key, at) DO UPDATE SET many = s.many + excluded.many, until = excluded.until
),
used AS (
    INSERT INTO perdure.sessions (session, worker, used_at, idle_us)
    SELECT DISTINCT t.session, $2::bigint, $1::bigint, w.session_idle_us
    FROM taken AS t JOIN perdure.workers AS w ON w.number = $2::bigint
    WHERE t.session IS NOT NULL AND NOT t.late
    ON CONFLICT (session) DO UPDATE SET used_at = excluded.used_at
)
{{part_claimed}};

-- name: next_in_lanes
-- The earliest moment after $1 at which something in lanes falls due, or the rate of a limit lets another begin.
WITH {{part_lanes}}
SELECT LEAST(
    (
        SELECT MIN(t.due_at) FROM perdure.tasks AS t
        WHERE t.owner IS NULL AND t.lane IS NOT NULL AND t.due_at > $1::bigint
    ),
    (
        SELECT MIN(o.at + d.per_us)
        FROM (
            SELECT DISTINCT n.key FROM named AS n
            -- What waited there may all have been taken.
            WHERE n.key IS NOT NULL AND EXISTS (
                SELECT 1 FROM perdure.tasks AS t WHERE t.owner IS NULL AND t.lane = n.lane
            )
        ) AS k
        CROSS JOIN LATERAL (
            SELECT t.concurrency, t.rate, t.per_us FROM perdure.tasks AS t
            WHERE t.limit_key = k.key
            ORDER BY t.scheduled_at DESC, t.incarnation DESC, t.execution DESC, t.event DESC LIMIT 1
        ) AS d
        CROSS JOIN LATERAL (
            SELECT MAX(s.at) AS at
            FROM (
                SELECT b.at, SUM(b.many) OVER (ORDER BY b.at DESC) AS begun
                FROM perdure.starts AS b WHERE b.limit_key = k.key
            ) AS s
            WHERE s.begun >= d.rate
        ) AS o
        WHERE d.rate IS NOT NULL AND o.at + d.per_us > $1::bigint
        AND (d.concurrency IS NULL OR d.concurrency > (
            SELECT COUNT(*) FROM perdure.tasks AS p
            WHERE p.limit_key = k.key AND p.owner IS NOT NULL AND NOT p.late
        ))
    )
);

-- name: next_due
-- The earliest moment after $1 at which something may become claimable by worker $2, registered in place $3.
-- Of messages and timers only the next hundred are looked at: where none of them is for this worker, it looks again
-- when the last of them is due. So no plan can begin with all that there are, of which there may be millions.
-- No timer is looked for at $5 or before, and no deadline at $6 or before.
SELECT LEAST(
    COALESCE(
        (
            SELECT m.due_at
            FROM (
                SELECT n.incarnation, n.due_at, n.control FROM perdure.messages AS n
                WHERE n.due_at > $1::bigint ORDER BY n.due_at LIMIT 100
            ) AS m
            CROSS JOIN LATERAL (
                -- Kept apart, so that no plan begins with the instances.
                SELECT n.* FROM perdure.instances AS n WHERE n.incarnation = m.incarnation OFFSET 0
            ) AS i
            WHERE (i.owner IS NULL OR i.owner = $2::bigint) AND (
                (m.control AND NOT {{part_is_copy}})
                OR (
                    (i.released_by IS DISTINCT FROM $2::bigint OR i.released_until <= m.due_at) AND {{part_suits}}
                )
            )
            ORDER BY m.due_at LIMIT 1
        ),
        (SELECT m.due_at FROM perdure.messages AS m WHERE m.due_at > $1::bigint ORDER BY m.due_at LIMIT 1 OFFSET 99)
    ),
    COALESCE(
        (
            SELECT t.fire_at
            FROM (
                SELECT n.incarnation, n.fire_at FROM perdure.timers AS n
                WHERE n.fire_at > GREATEST($1::bigint, $5::bigint) ORDER BY n.fire_at LIMIT 100
            ) AS t
            CROSS JOIN LATERAL (
                SELECT n.* FROM perdure.instances AS n WHERE n.incarnation = t.incarnation OFFSET 0
            ) AS i
            WHERE (i.owner IS NULL OR i.owner = $2::bigint)
            AND (i.released_by IS DISTINCT FROM $2::bigint OR i.released_until <= t.fire_at) AND {{part_suits}}
            ORDER BY t.fire_at LIMIT 1
        ),
        (
            SELECT t.fire_at FROM perdure.timers AS t
            WHERE t.fire_at > GREATEST($1::bigint, $5::bigint) ORDER BY t.fire_at LIMIT 1 OFFSET 99
        )
    ),
    (
        SELECT i.released_until
        FROM perdure.instances AS i
        WHERE i.released_by = $2::bigint AND i.released_until > $1::bigint AND i.owner IS NULL
        AND {{part_suits}}
        AND (
            EXISTS (SELECT 1 FROM perdure.messages AS m WHERE m.incarnation = i.incarnation
                    AND m.due_at <= i.released_until AND NOT m.control)
            OR EXISTS (SELECT 1 FROM perdure.timers AS t WHERE t.incarnation = i.incarnation
                       AND t.fire_at <= i.released_until)
        )
        ORDER BY i.released_until LIMIT 1
    ),
    (
        SELECT t.due_at FROM perdure.tasks AS t
        WHERE t.owner IS NULL AND t.delayed AND t.lane IS NULL AND t.due_at > $1::bigint
        AND (SELECT w.untagged FROM perdure.workers AS w WHERE w.number = $2::bigint)
        AND (LEAST(t.start_by, t.deadline) IS NULL OR LEAST(t.start_by, t.deadline) > $1::bigint)
        AND EXISTS (
            SELECT 1 FROM perdure.abilities AS a
            WHERE a.worker = $2::bigint AND a.kind = 'activity' AND a.name = t.name
        )
        ORDER BY t.due_at LIMIT 1
    ),
    (
        -- Only there when another handle was ahead in time.
        SELECT MIN(t.due_at)
        FROM perdure.abilities AS a
        CROSS JOIN LATERAL (
            -- Kept apart, so that no plan walks through all that is in the line.
            SELECT n.* FROM perdure.tasks AS n
            WHERE n.owner IS NULL AND n.permit IS NULL AND n.name = a.name AND n.due_at > $1::bigint OFFSET 0
        ) AS t
        WHERE a.worker = $2::bigint AND a.kind = 'activity' AND NOT t.delayed AND t.lane IS NULL
        AND (SELECT w.untagged FROM perdure.workers AS w WHERE w.number = $2::bigint)
        AND (LEAST(t.start_by, t.deadline) IS NULL OR LEAST(t.start_by, t.deadline) > $1::bigint)
    ),
    (
        SELECT LEAST(t.start_by, t.deadline) FROM perdure.tasks AS t
        WHERE t.owner IS NULL AND LEAST(t.start_by, t.deadline) > GREATEST($1::bigint, $6::bigint) AND NOT (
            t.due_at <= $1::bigint AND t.lane IS NULL
            AND (SELECT w.untagged FROM perdure.workers AS w WHERE w.number = $2::bigint)
            AND EXISTS (
                SELECT 1 FROM perdure.abilities AS a
                WHERE a.worker = $2::bigint AND a.kind = 'activity' AND a.name = t.name
            )
        )
        ORDER BY LEAST(t.start_by, t.deadline) LIMIT 1
    )
);

-- name: first_ahead
-- The first timer after $1 and $2, and the first deadline of a task that nobody owns after $1 and $3, whosever they are.
SELECT
    (
        SELECT t.fire_at FROM perdure.timers AS t
        WHERE t.fire_at > GREATEST($1::bigint, $2::bigint) ORDER BY t.fire_at LIMIT 1
    ),
    (
        SELECT LEAST(t.start_by, t.deadline) FROM perdure.tasks AS t
        WHERE t.owner IS NULL AND LEAST(t.start_by, t.deadline) > GREATEST($1::bigint, $3::bigint)
        ORDER BY LEAST(t.start_by, t.deadline) LIMIT 1
    );

-- name: add_worker
-- A worker, in order of registration.
INSERT INTO perdure.workers (
    number, name, pid, host, started_at, lease_us, lease_until, orchestrations, activities, untagged, tags, other_tags,
    sessions, session_idle_us
)
VALUES (
    $1::bigint, $2::text, $3::bigint, $4::text, $5::bigint, $6::bigint, $7::bigint, $8::text[], $9::text[],
    $10::boolean, $11::text[], $12::boolean, $13::bigint, $14::bigint
);

-- name: add_token
-- The place for the token of its last commit.
INSERT INTO perdure.tokens (worker) VALUES ($1::bigint);

-- name: add_abilities
-- What the worker has code for.
INSERT INTO perdure.abilities (worker, kind, name, version, reader)
SELECT $1::bigint, j.*, $5::bigint FROM unnest($2::text[], $3::text[], $4::text[]) AS j ON CONFLICT DO NOTHING;

-- name: extend_lease
-- The worker lives; the time is the server's unless one is given.
UPDATE perdure.workers SET lease_until = COALESCE($2::bigint, perdure.clock_us()) + lease_us
WHERE number = $1::bigint RETURNING perdure.clock_us();

-- name: workers
-- All workers, in order of registration.
SELECT
    number, name, pid, host, started_at, lease_until, orchestrations, activities, untagged, tags, other_tags, sessions,
    session_idle_us
FROM perdure.workers ORDER BY joined;

-- name: there_are_dead
-- Whether there is work for a reaper: whether it has a row, whether somebody else is dead, and who has a row.
SELECT
    EXISTS (SELECT 1 FROM perdure.workers WHERE number = $1::bigint),
    EXISTS (SELECT 1 FROM perdure.workers WHERE lease_until <= $2::bigint AND number <> $1::bigint),
    ARRAY(SELECT number FROM perdure.workers);

-- name: snapshot_holders
-- Who keeps rows that were removed within the last $1 transactions or longer: kind, id, since which transaction, whose, and
-- since when, as far as this role may see that. What sessions of other databases keep are rows of those.
SELECT
    'session', a.pid::text, pg_catalog.concat_ws(' ', a.backend_xmin::text, a.backend_xid::text),
    pg_catalog.format('%s, user %s', COALESCE(NULLIF(a.application_name, ''), 'no application_name'), a.usename),
    (EXTRACT(EPOCH FROM a.xact_start) * 1000000)::bigint
FROM pg_catalog.pg_stat_activity AS a
-- Whoever vacuums by himself has no user, and keeps nothing.
WHERE a.usename IS NOT NULL AND a.pid <> pg_catalog.pg_backend_pid()
AND (a.datname = pg_catalog.current_database() OR a.datname IS NULL)
AND GREATEST(pg_catalog.age(a.backend_xmin), pg_catalog.age(a.backend_xid)) >= $1::bigint
UNION ALL
SELECT
    'replication slot', s.slot_name::text, s.xmin::text,
    CASE WHEN s.active THEN 'in use' ELSE 'in use by nobody' END, NULL
FROM pg_catalog.pg_replication_slots AS s WHERE pg_catalog.age(s.xmin) >= $1::bigint
UNION ALL
SELECT
    'prepared transaction', p.gid, p.transaction::text, pg_catalog.format('user %s', p.owner),
    (EXTRACT(EPOCH FROM p.prepared) * 1000000)::bigint
FROM pg_catalog.pg_prepared_xacts AS p
WHERE p.database = pg_catalog.current_database() AND pg_catalog.age(p.transaction) >= $1::bigint;

-- name: removed_rows
-- How many removed rows there are still in the table, of those that claims look into, that has the most.
SELECT GREATEST(
    pg_catalog.pg_stat_get_dead_tuples('perdure.messages'::pg_catalog.regclass),
    pg_catalog.pg_stat_get_dead_tuples('perdure.timers'::pg_catalog.regclass),
    pg_catalog.pg_stat_get_dead_tuples('perdure.tasks'::pg_catalog.regclass)
);

-- name: lock_dead
-- The workers whose lease is over, the spared one excepted; who is in the middle of a commit lives.
SELECT number FROM perdure.workers
WHERE lease_until <= $1::bigint AND number <> $2::bigint
ORDER BY number FOR UPDATE SKIP LOCKED;

-- name: lock_worker
-- The worker itself, after its commits.
SELECT number FROM perdure.workers WHERE number = $1::bigint FOR UPDATE;

-- name: disown_instances
-- Free the instances of workers that are gone; $2 says whether they died with them, which counts up to 3 by itself.
UPDATE perdure.instances AS i SET
    owner = NULL,
    deliveries = CASE
        WHEN $2::boolean THEN GREATEST(i.deliveries, LEAST(i.deliveries + 1, 3)) ELSE LEAST(i.deliveries, 3)
    END
WHERE i.incarnation IN (
    SELECT o.incarnation FROM perdure.instances AS o
    WHERE o.status <> 'completed' AND o.status IN ('pending', 'running', 'held', 'suspended')
    AND o.owner = ANY($1::bigint[])
    ORDER BY o.incarnation FOR NO KEY UPDATE
);

-- name: disown_tasks
-- Free their tasks, which wait from now on; $2 says whether they died with them.
UPDATE perdure.tasks SET
    owner = NULL,
    late = false,
    deliveries = CASE WHEN $2::boolean THEN GREATEST(deliveries, LEAST(deliveries + 1, 3)) ELSE LEAST(deliveries, 3) END,
    start_by = CASE WHEN $2::boolean THEN NULL ELSE start_by END,
    due_at = GREATEST(due_at, $3::bigint),
    delayed = due_at > $3::bigint
WHERE owner = ANY($1::bigint[]);

-- name: disown_sessions
-- Nobody has their sessions any more.
DELETE FROM perdure.sessions WHERE worker = ANY($1::bigint[]);

-- name: remove_abilities
-- What they had code for.
DELETE FROM perdure.abilities WHERE worker = ANY($1::bigint[]);

-- name: remove_tokens
-- Their last commits.
DELETE FROM perdure.tokens WHERE worker = ANY($1::bigint[]);

-- name: remove_workers
-- The workers themselves.
DELETE FROM perdure.workers WHERE number = ANY($1::bigint[]);

-- name: part_missing_names
-- The activities that no worker has, of those of tasks that nobody owns.
names (name) AS (
    SELECT MIN(t.name) FROM perdure.tasks AS t WHERE t.owner IS NULL AND t.permit IS NULL
    UNION ALL
    -- From one name to the next, so that a long line of one activity costs a single step.
    SELECT (
        SELECT MIN(t.name) FROM perdure.tasks AS t
        WHERE t.owner IS NULL AND t.permit IS NULL AND t.name > names.name
    )
    FROM names WHERE names.name IS NOT NULL
),
missing (name) AS MATERIALIZED (
    SELECT n.name FROM names AS n
    WHERE n.name IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM perdure.abilities AS a
        WHERE a.kind = 'activity' AND a.name = n.name
    )
);

-- name: something_waits
-- Whether anything has waited since $1 for an instance, or a task for an activity that no worker has.
WITH RECURSIVE {{part_missing_names}}
SELECT
    EXISTS (SELECT 1 FROM perdure.messages AS m WHERE m.due_at <= $1::bigint)
    OR EXISTS (SELECT 1 FROM perdure.timers AS t WHERE t.fire_at <= $1::bigint)
    OR EXISTS (SELECT 1 FROM missing);

-- name: unknown_waiting
-- Of the messages that have been due since $1 those behind the place $3 and $4, of the timers those behind $5 and $6, of each the
-- first $2: the last of these, if there are so many, and the instances that nobody owns, while no worker has their code.
WITH told AS MATERIALIZED (
    SELECT m.due_at AS due, m.incarnation FROM perdure.messages AS m
    WHERE m.due_at BETWEEN $3::bigint AND $1::bigint AND (m.due_at, m.incarnation) > ($3::bigint, $4::bigint)
    ORDER BY m.due_at, m.incarnation LIMIT $2::bigint
),
fired AS MATERIALIZED (
    SELECT t.fire_at AS due, t.incarnation FROM perdure.timers AS t
    WHERE t.fire_at BETWEEN $5::bigint AND $1::bigint AND (t.fire_at, t.incarnation) > ($5::bigint, $6::bigint)
    ORDER BY t.fire_at, t.incarnation LIMIT $2::bigint
),
waiting AS MATERIALIZED (
    SELECT i.*
    FROM (SELECT w.incarnation FROM told AS w UNION SELECT w.incarnation FROM fired AS w) AS d
    CROSS JOIN LATERAL (
        -- Kept apart, so that no plan begins with the instances.
        SELECT n.incarnation, n.id, n.name, n.version, n.min_reader, n.owner, n.status FROM perdure.instances AS n
        WHERE n.incarnation = d.incarnation OFFSET 0
    ) AS i
    WHERE i.owner IS NULL AND i.status IN ('pending', 'running')
),
missing AS MATERIALIZED (
    SELECT d.*
    FROM (SELECT DISTINCT w.name, w.version, w.min_reader FROM waiting AS w) AS d
    WHERE NOT EXISTS (
        SELECT 1 FROM perdure.abilities AS a
        WHERE a.kind = 'orchestration' AND a.name = d.name
        AND (d.version IS NULL OR a.version = d.version) AND a.reader >= d.min_reader
    )
)
SELECT e.*, u.incarnation, u.id, u.name, u.version
FROM (
    SELECT
        (SELECT ARRAY[w.due, w.incarnation] FROM told AS w ORDER BY w.due, w.incarnation OFFSET $2::bigint - 1) AS told,
        (SELECT ARRAY[w.due, w.incarnation] FROM fired AS w ORDER BY w.due, w.incarnation OFFSET $2::bigint - 1) AS fired
) AS e
LEFT JOIN (
    SELECT w.* FROM missing AS m
    JOIN waiting AS w ON w.name = m.name AND w.version IS NOT DISTINCT FROM m.version AND w.min_reader = m.min_reader
) AS u ON true;

-- name: unknown_tasks
-- Of the tasks that nobody owns, while no worker has their activity, those due since $1 and behind the place $4, $5 and $6, the
-- first $3: name, time and instance of the last, if there are so many, and the instances of those that are not too late at
-- $2, in order of the tasks. One that has a time to start in ends by that.
WITH RECURSIVE {{part_missing_names}},
seen AS MATERIALIZED (
    SELECT t.*
    FROM (SELECT m.name FROM missing AS m WHERE m.name >= $4::text) AS u
    CROSS JOIN LATERAL (
        SELECT n.name, n.due_at AS due, n.incarnation, n.event, n.start_by, n.deadline FROM perdure.tasks AS n
        WHERE n.owner IS NULL AND n.permit IS NULL AND n.name = u.name
        AND n.due_at BETWEEN CASE WHEN u.name = $4::text THEN $5::bigint ELSE 0 END AND $1::bigint
        AND (n.name, n.due_at, n.incarnation) > ($4::text, $5::bigint, $6::bigint)
        ORDER BY n.due_at, n.incarnation LIMIT $3::bigint
    ) AS t
    ORDER BY t.name, t.due, t.incarnation LIMIT $3::bigint
)
SELECT e.*, x.incarnation, x.id, x.name
FROM (
    SELECT l.name AS last_name, l.due AS last_due, l.incarnation AS last_incarnation FROM (SELECT 1) AS one
    LEFT JOIN (
        SELECT w.* FROM seen AS w ORDER BY w.name, w.due, w.incarnation OFFSET $3::bigint - 1
    ) AS l ON true
) AS e
LEFT JOIN (
    SELECT w.incarnation, i.id, w.name, w.due, w.event
    FROM seen AS w
    CROSS JOIN LATERAL (
        SELECT n.id, n.status FROM perdure.instances AS n WHERE n.incarnation = w.incarnation OFFSET 0
    ) AS i
    WHERE w.start_by IS NULL AND (w.deadline IS NULL OR w.deadline > $2::bigint)
    AND i.status IN ('pending', 'running')
) AS x ON true
ORDER BY x.due, x.event;

-- name: known_names
-- What all workers have code for: kind, name, version.
SELECT DISTINCT a.kind, a.name, a.version FROM perdure.abilities AS a;

-- name: lock_unowned
-- Of instances: those that are still pending or running, locked.
SELECT incarnation, owner FROM perdure.instances
WHERE incarnation = ANY($1::bigint[]) AND status IN ('pending', 'running')
ORDER BY incarnation FOR NO KEY UPDATE;

-- name: hold_instances
-- Set instances aside, for those that register after all that are there.
UPDATE perdure.instances AS i SET
    status = 'held', owner = NULL, changed_at = GREATEST(i.changed_at, $3::bigint), held_because = j.reason,
    held_after = (SELECT MAX(w.joined) FROM perdure.workers AS w)
FROM unnest($1::bigint[], $2::text[]) AS j (incarnation, reason)
WHERE i.incarnation = j.incarnation;

-- name: get_instances
-- Instances by id.
SELECT r.* FROM perdure.instance_records AS r WHERE r.id = ANY($1::text[]);

-- name: still_open
-- Which of these ids open instances have, and their incarnations.
SELECT i.id, i.incarnation FROM perdure.instances AS i
WHERE i.id = ANY($1::text[]) AND i.status NOT IN ('completed', 'failed', 'cancelled', 'terminated', 'moved');

-- name: part_attributes
-- The attributes of the instance i.
pg_catalog.replace(pg_catalog.convert_from(i.attributes, 'UTF8'), '\u0000', '\ufffd')::jsonb;

-- name: part_matching
-- What the instances i of a query have in common, beside their status and their parent; the members of $5 must be among
-- their attributes and equal.
($2::text IS NULL OR i.name = $2::text)
AND ($3::text IS NULL OR i.version = $3::text)
AND ($7::bigint IS NULL OR i.created_at >= $7::bigint)
AND ($8::bigint IS NULL OR i.created_at < $8::bigint)
AND (
    -- No turn of one that has closed is later than its last change.
    $9::bigint IS NULL OR i.changed_at >= $9::bigint OR (
        i.status NOT IN ('completed', 'failed', 'cancelled', 'terminated', 'moved')
        AND (
            SELECT h.committed_at FROM perdure.history AS h
            WHERE h.incarnation = i.incarnation AND h.execution = i.execution
            ORDER BY h.last_event DESC LIMIT 1
        ) >= $9::bigint
    )
)
AND (
    $10::bigint IS NULL
    OR (
        i.changed_at < $10::bigint AND (
            i.status IN ('completed', 'failed', 'cancelled', 'terminated', 'moved')
            OR COALESCE((
                SELECT h.committed_at FROM perdure.history AS h
                WHERE h.incarnation = i.incarnation AND h.execution = i.execution
                ORDER BY h.last_event DESC LIMIT 1
            ) < $10::bigint, true)
        )
    )
)
AND ($11::text IS NULL OR i.root = $11::text)
AND (
    NOT $12::boolean
    -- Not asked by NOT EXISTS, for which a plan may read all instances first.
    OR (SELECT f.incarnation FROM perdure.instances AS f WHERE f.incarnation = i.parent_incarnation) IS NULL
)
AND (
    $5::jsonb IS NULL
    -- As `attributes_of` says, of which each call costs many times what it does. Containing them is less than being equal,
    -- where a value has members itself, and sooner found out.
    OR (
        i.attributes IS NOT NULL AND {{part_attributes}} @> $5::jsonb AND NOT EXISTS (
            SELECT 1 FROM pg_catalog.jsonb_each($5::jsonb) AS w
            WHERE w.value IS DISTINCT FROM {{part_attributes}} -> w.key
        )
    )
);

-- name: part_placed
-- Whether the instance i is a child of the instance with the id $13, and of one of the incarnations $14.
(
    $13::text IS NULL
    OR i.parent_incarnation = (SELECT c.incarnation FROM perdure.instances AS c WHERE c.id = $13::text)
)
AND ($14::bigint[] IS NULL OR i.parent_incarnation = ANY($14::bigint[]));

-- name: part_look
-- The beginning of a page of instances, newest first, up to the key of an index along which they are looked at. What there
-- is of a key is asked for as a span, and the key is part of the order: so no plan takes the rows of all keys in order.
SELECT p.number, p.hit, r.*
FROM (
    SELECT l.incarnation, l.number, l.hit
    FROM (
        SELECT
            i.key, i.incarnation, i.number,
            ($4::text[] IS NULL OR i.status = ANY($4::text[])) AND {{part_matching}} AS hit
        FROM (
            SELECT k.*, pg_catalog.row_number() OVER (ORDER BY k.key DESC, k.incarnation DESC) AS number
            FROM (
                SELECT
                    i.incarnation, i.name, i.version, i.status, i.execution, i.created_at, i.changed_at, i.root,
                    i.parent_incarnation, i.attributes,;

-- name: part_page
-- The end of it: those that match, and the one where the page ends though it is not full, as $14 were looked at.
                AND i.incarnation < $1::bigint AND i.incarnation >= $13::bigint
            ) AS k
            ORDER BY k.key DESC, k.incarnation DESC
            LIMIT $14::bigint
        ) AS i
    ) AS l
    WHERE l.hit OR l.number = $14::bigint
    ORDER BY l.key DESC, l.incarnation DESC
    LIMIT $6::bigint
) AS p
JOIN perdure.instance_records AS r ON r.incarnation = p.incarnation;

-- name: find_by_creation
-- A page of instances behind $1, newest first, down to $13, of which $14 are looked at.
{{part_look}}
                    i.incarnation AS key
                FROM perdure.instances AS i
                WHERE true
{{part_page}};

-- name: find_by_status
-- The same of the status $15.
{{part_look}}
                    i.status AS key
                FROM perdure.instances AS i
                WHERE i.status >= $15::text AND i.status <= $15::text
{{part_page}};

-- name: find_by_name
-- The same of the orchestration $15.
{{part_look}}
                    i.name AS key
                FROM perdure.instances AS i
                WHERE i.name >= $15::text AND i.name <= $15::text
{{part_page}};

-- name: find_strays
-- The same of those that were begun at another time than their incarnation says.
{{part_look}}
                    i.incarnation AS key
                FROM perdure.instances AS i
                WHERE pg_catalog.abs(i.created_at / 1000 - 1577836800000 - (i.incarnation >> 22)) > 60000
{{part_page}};

-- name: find_root
-- The same of the root $15 itself.
{{part_look}}
                    i.incarnation AS key
                FROM perdure.instances AS i
                WHERE i.id = $15::text
{{part_page}};

-- name: find_below_root
-- The same of what was started under the root $15.
{{part_look}}
                    i.root AS key
                FROM perdure.instances AS i
                WHERE i.root >= $15::text AND i.root <= $15::text AND i.root <> i.id
{{part_page}};

-- name: find_children
-- The same of the children of the incarnation $15, or of the instance with the id $16.
{{part_look}}
                    i.parent_incarnation AS key
                FROM perdure.instances AS i
                WHERE i.parent_incarnation
                    >= COALESCE($15::bigint, (SELECT c.incarnation FROM perdure.instances AS c WHERE c.id = $16::text))
                AND i.parent_incarnation
                    <= COALESCE($15::bigint, (SELECT c.incarnation FROM perdure.instances AS c WHERE c.id = $16::text))
{{part_page}};

-- name: find_children_of
-- The same of the children of the incarnations $15.
{{part_look}}
                    i.incarnation AS key
                FROM perdure.instances AS i
                WHERE i.parent_incarnation = ANY($15::bigint[])
{{part_page}};

-- name: by_attributes_only
-- For what is asked in the same round trip: an index of attributes is used, however many the planner expects to find.
SELECT
    pg_catalog.set_config('jit', 'off', true), pg_catalog.set_config('plan_cache_mode', 'force_custom_plan', true),
    pg_catalog.set_config('enable_seqscan', 'off', true);

-- name: count_name
-- How many instances of the orchestration $1 there are, up to $2.
SELECT COUNT(*) FROM (SELECT FROM perdure.instances AS i WHERE i.name = $1::text LIMIT $2::bigint) AS f;

-- name: find_by_attributes
-- The same of those that have the attributes $5, if there are no more than $15, as all of them are looked at; with each of them how
-- many there are, one more than $15 at most.
WITH few AS MATERIALIZED (
    SELECT n.* FROM perdure.instances AS n
    WHERE n.attributes IS NOT NULL AND perdure.attributes_of(n.attributes) @> $5::jsonb
    LIMIT $15::bigint + 1
)
SELECT m.many, p.*
FROM (SELECT COUNT(*) AS many FROM few) AS m
LEFT JOIN LATERAL (
    SELECT 0 AS number, true AS hit, r.*
    FROM (
        SELECT i.incarnation
        FROM few AS i
        WHERE m.many <= $15::bigint AND i.incarnation < $1::bigint
        AND ($4::text[] IS NULL OR i.status = ANY($4::text[]))
        AND {{part_placed}}
        AND {{part_matching}}
        ORDER BY i.incarnation DESC
        LIMIT $6::bigint
    ) AS f
    JOIN perdure.instance_records AS r ON r.incarnation = f.incarnation
) AS p ON true
ORDER BY p.incarnation DESC;

-- name: count_instances
-- How many instances match: name, status, count. $1 and $6 are as in the statements above, and mean nothing.
SELECT i.name, i.status, COUNT(*)
FROM perdure.instances AS i
WHERE i.incarnation <= $1::bigint
AND ($4::text[] IS NULL OR i.status = ANY($4::text[]))
AND {{part_placed}}
AND {{part_matching}}
AND ($6::bigint IS NULL OR true)
GROUP BY i.name, i.status
ORDER BY i.name, i.status;

-- name: family
-- The instance and everything below it, at most $2: those nearest to it first.
WITH RECURSIVE family (incarnation, depth) AS (
    SELECT i.incarnation, 0 FROM perdure.instances AS i WHERE i.id = $1::text
    UNION ALL
    SELECT c.incarnation, family.depth + 1
    FROM family JOIN perdure.instances AS c ON c.parent_incarnation = family.incarnation
)
SELECT r.*
FROM (SELECT f.incarnation, f.depth FROM family AS f ORDER BY f.depth, f.incarnation LIMIT $2::bigint) AS p
JOIN perdure.instance_records AS r ON r.incarnation = p.incarnation
ORDER BY p.depth, p.incarnation;

-- name: lapsed
-- The $2 instances behind $1, each with whether it is a root that completed before $3 or ended otherwise before $4, and
-- whether it has a history beyond $5 executions.
SELECT
    s.id, s.incarnation,
    COALESCE(
        (
            (s.status = 'completed' AND s.changed_at < $3::bigint)
            OR (s.status IN ('failed', 'cancelled', 'terminated', 'moved') AND s.changed_at < $4::bigint)
        )
        AND NOT EXISTS (SELECT 1 FROM perdure.instances AS p WHERE p.incarnation = s.parent_incarnation),
        false
    ),
    s.execution > COALESCE($5::bigint, s.execution) AND EXISTS (
        SELECT 1 FROM perdure.history AS h
        WHERE h.incarnation = s.incarnation AND h.execution <= s.execution - $5::bigint
    )
FROM (
    SELECT i.id, i.incarnation, i.status, i.changed_at, i.parent_incarnation, i.execution
    FROM perdure.instances AS i WHERE i.incarnation > $1::bigint ORDER BY i.incarnation LIMIT $2::bigint
) AS s
ORDER BY s.incarnation;

-- name: executions
-- What is stored of each execution of an instance: execution, first at, last at, events, size.
SELECT execution, MIN(at), MAX(at), MAX(last_event), SUM(pg_catalog.octet_length(data))
FROM perdure.history WHERE incarnation = $1::bigint GROUP BY execution ORDER BY execution;

-- name: held_tasks
-- The tasks that were set aside, of the instance $2 or of all, at most $1.
SELECT
    i.id, t.incarnation, t.execution, t.event, t.name, t.held_at, t.held_because, t.scheduled_at, t.attempt,
    t.deliveries, t.began_at
FROM perdure.tasks AS t JOIN perdure.instances AS i ON i.incarnation = t.incarnation
WHERE t.held_because IS NOT NULL AND ($2::bigint IS NULL OR t.incarnation = $2::bigint)
ORDER BY t.held_at, t.incarnation, t.execution, t.event LIMIT $1::bigint;

-- name: open_tasks
-- The first $2 activities of the instance $1 that have not ended, in the order of the fields of an `OpenTask`.
SELECT event, name, attempt, scheduled_at, due_at, owner, tag, last_error, held_because, stopped
FROM perdure.tasks WHERE incarnation = $1::bigint AND permit IS NULL ORDER BY event LIMIT $2::bigint;

-- name: depths
-- What waits at $1: ready instances, since when, messages, timers, held instances, since when, parcels, since when.
SELECT
    COUNT(DISTINCT d.incarnation), MIN(d.due),
    (SELECT COUNT(*) FROM perdure.messages), (SELECT COUNT(*) FROM perdure.timers),
    (SELECT COUNT(*) FROM perdure.instances AS h WHERE h.status = 'held' AND h.status <> 'completed'),
    (SELECT MIN(h.updated_at) FROM perdure.instance_records AS h WHERE h.status = 'held' AND h.status <> 'completed'),
    (SELECT COUNT(*) FROM perdure.outbox), (SELECT MIN(o.sent_at) FROM perdure.outbox AS o)
FROM (
    SELECT m.incarnation, m.due_at AS due
    FROM perdure.messages AS m JOIN perdure.instances AS i ON i.incarnation = m.incarnation
    WHERE m.due_at <= $1::bigint AND i.owner IS NULL AND i.status IN ('pending', 'running')
    UNION ALL
    SELECT t.incarnation, t.fire_at
    FROM perdure.timers AS t JOIN perdure.instances AS i ON i.incarnation = t.incarnation
    WHERE t.fire_at <= $1::bigint AND i.owner IS NULL AND i.status IN ('pending', 'running')
) AS d;

-- name: task_depths
-- The tasks of each activity and tag at $1: name, tag, waiting, delayed, running, waiting since.
SELECT
    t.name, t.tag,
    COUNT(*) FILTER (WHERE t.owner IS NULL AND t.due_at <= $1::bigint),
    COUNT(*) FILTER (WHERE t.owner IS NULL AND t.due_at > $1::bigint),
    COUNT(*) FILTER (WHERE t.owner IS NOT NULL),
    MIN(t.scheduled_at) FILTER (WHERE t.owner IS NULL AND t.due_at <= $1::bigint)
FROM perdure.tasks AS t WHERE t.permit IS NULL GROUP BY t.name, t.tag ORDER BY t.name, t.tag NULLS FIRST;

-- name: limits_used
-- The limits that some task has, at $1: key, concurrency, rate, per, running, waiting, waiting since.
SELECT
    t.limit_key, MIN(t.concurrency), MIN(t.rate), MIN(t.per_us),
    COUNT(*) FILTER (WHERE t.owner IS NOT NULL AND NOT t.late),
    COUNT(*) FILTER (WHERE t.owner IS NULL AND t.due_at <= $1::bigint),
    MIN(t.scheduled_at) FILTER (WHERE t.owner IS NULL AND t.due_at <= $1::bigint)
FROM (
    SELECT
        u.limit_key, u.owner, u.late, u.due_at, u.scheduled_at,
        pg_catalog.first_value(u.concurrency) OVER declared AS concurrency,
        pg_catalog.first_value(u.rate) OVER declared AS rate,
        pg_catalog.first_value(u.per_us) OVER declared AS per_us
    FROM perdure.tasks AS u WHERE u.limit_key IS NOT NULL
    WINDOW declared AS (
        PARTITION BY u.limit_key ORDER BY u.scheduled_at DESC, u.incarnation DESC, u.execution DESC, u.event DESC
    )
) AS t
GROUP BY t.limit_key ORDER BY t.limit_key;

-- name: limit_users
-- The first $2 tasks of a limit key: id, event, name, scheduled at, owner.
SELECT i.id, t.event, t.name, t.scheduled_at, t.owner
FROM perdure.tasks AS t JOIN perdure.instances AS i ON i.incarnation = t.incarnation
WHERE t.limit_key = $1::text
ORDER BY t.owner IS NULL, t.priority DESC, t.scheduled_at, t.incarnation, t.execution, t.event
LIMIT $2::bigint;

-- name: history
-- The rows of one execution in order.
SELECT first_event, last_event, at, data, crc, format, encoding FROM perdure.history
WHERE incarnation = $1::bigint AND execution = $2::bigint ORDER BY last_event;

-- name: last_change
-- When an instance changed last.
SELECT r.updated_at FROM perdure.instance_records AS r WHERE r.incarnation = $1::bigint;

-- name: set_tasks_aside
-- Set aside the tasks of an instance that nobody runs, or with $5 all of them.
UPDATE perdure.tasks SET
    owner = NULL, late = false, held_at = $2::bigint, held_because = $3::text, due_at = $4::bigint, delayed = true, start_by = NULL
WHERE incarnation = $1::bigint AND permit IS NULL AND held_because IS NULL AND (owner IS NULL OR $5::boolean);

-- name: present
-- Of incarnations: how many messages and tasks each has, and whether a worker runs a task of it.
SELECT
    i.incarnation,
    (SELECT COUNT(*) FROM perdure.messages AS m WHERE m.incarnation = i.incarnation),
    (SELECT COUNT(*) FROM perdure.tasks AS t WHERE t.incarnation = i.incarnation),
    EXISTS (SELECT 1 FROM perdure.tasks AS t WHERE t.incarnation = i.incarnation AND t.owner <> 0)
FROM perdure.instances AS i WHERE i.incarnation = ANY($1::bigint[]);

-- name: move_out
-- Leave of instances no more than where they are, $3.
UPDATE perdure.instances AS i SET
    status = 'moved', owner = NULL, held_because = $3::text,
    changed_at = GREATEST(i.changed_at, $2::bigint, (
        SELECT h.committed_at FROM perdure.history AS h
        WHERE h.incarnation = i.incarnation AND h.execution = i.execution
        ORDER BY h.last_event DESC LIMIT 1
    ))
WHERE i.incarnation = ANY($1::bigint[]);

-- name: put_instances
-- Instances as they are, without owner.
INSERT INTO perdure.instances (
    incarnation, id, name, version, status, execution, deliveries, created_at, changed_at, ready_at, root, parent_id,
    parent_incarnation, parent_execution, parent_event, slot, min_reader, resets, cancel_requested,
    custom_status_version, held_because, attributes, custom_status, error, output, held_after
)
SELECT j.*, CASE WHEN j.status = 'held' THEN 0 END
FROM unnest(
    $1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::bigint[], $8::bigint[],
    $9::bigint[], $10::bigint[], $11::text[], $12::text[], $13::bigint[], $14::bigint[], $15::bigint[], $16::bigint[],
    $17::bigint[], $18::bigint[], $19::boolean[], $20::bigint[], $21::text[], $22::bytea[], $23::bytea[], $24::bytea[],
    $25::bytea[]
) AS j (
    incarnation, id, name, version, status, execution, deliveries, created_at, changed_at, ready_at, root, parent_id,
    parent_incarnation, parent_execution, parent_event, slot, min_reader, resets, cancel_requested,
    custom_status_version, held_because, attributes, custom_status, error, output
);

-- name: put_history
-- Their histories, each row with the moment of the instance's last change.
INSERT INTO perdure.history (
    incarnation, execution, first_event, last_event, at, crc, format, encoding, data, committed_at
)
SELECT j.*
FROM unnest(
    $1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::text[],
    $9::bytea[], $10::bigint[]
) AS j;

-- name: put_tasks
-- Tasks as they are, without owner.
INSERT INTO perdure.tasks (
    incarnation, execution, event, name, scheduled_at, due_at, start_by, deadline, attempt, deliveries, priority, tag,
    session, lane, limit_key, concurrency, rate, per_us, permit, owner, stopped, held_at, held_because,
    began_at, retry, input, last_error, details, delayed
)
SELECT j.*, j.due_at > $29::bigint
FROM unnest(
    $1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[],
    $9::bigint[], $10::bigint[], $11::bigint[], $12::text[], $13::text[], $14::text[], $15::text[], $16::bigint[],
    $17::bigint[], $18::bigint[], $19::bytea[], $20::bigint[], $21::boolean[], $22::bigint[], $23::text[],
    $24::bigint[], $25::bytea[], $26::bytea[], $27::bytea[], $28::bytea[]
) AS j (
    incarnation, execution, event, name, scheduled_at, due_at, start_by, deadline, attempt, deliveries, priority, tag,
    session, lane, limit_key, concurrency, rate, per_us, permit, owner, stopped, held_at, held_because,
    began_at, retry, input, last_error, details
);

-- name: begin_snapshot
-- A transaction whose statements all see the same.
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;

-- name: part_image_tree
-- The incarnations of the ids $1 and of everything below them.
WITH RECURSIVE tree (incarnation) AS (
    SELECT i.incarnation FROM perdure.instances AS i WHERE i.id = ANY($1::text[])
    UNION
    SELECT c.incarnation FROM tree JOIN perdure.instances AS c ON c.parent_incarnation = tree.incarnation
);

-- name: image_records
-- Instances with everything below them, and when each may start.
{{part_image_tree}}
SELECT r.*, i.ready_at
FROM tree
JOIN perdure.instance_records AS r ON r.incarnation = tree.incarnation
JOIN perdure.instances AS i ON i.incarnation = tree.incarnation
ORDER BY r.incarnation;

-- name: image_history
-- Their histories, execution by execution.
{{part_image_tree}}
SELECT h.incarnation, h.execution, h.first_event, h.last_event, h.at, h.data, h.crc, h.format, h.encoding
FROM tree JOIN perdure.history AS h ON h.incarnation = tree.incarnation
ORDER BY h.incarnation, h.execution, h.last_event;

-- name: image_messages
-- Their messages, in the order in which they are handed out.
{{part_image_tree}}
SELECT m.incarnation, m.due_at, m.body, m.control, m.execution
FROM tree JOIN perdure.messages AS m ON m.incarnation = tree.incarnation
ORDER BY m.incarnation, m.due_at, m.seq;

-- name: image_timers
-- Their timers.
{{part_image_tree}}
SELECT t.incarnation, t.execution, t.event, t.fire_at
FROM tree JOIN perdure.timers AS t ON t.incarnation = tree.incarnation
ORDER BY t.incarnation, t.execution, t.event;

-- name: image_tasks
-- Their tasks, in the order of the fields of a `TaskImage`.
{{part_image_tree}}
SELECT
    t.incarnation, t.execution, t.event, t.name, t.input, t.scheduled_at, t.due_at, t.attempt, t.deliveries, t.retry,
    t.tag, t.session, t.priority, t.limit_key, t.concurrency, t.rate, t.per_us, t.permit,
    COALESCE(t.owner = 0, false), t.start_by, t.deadline, t.last_error, t.details,
    t.stopped, t.held_at, t.held_because, t.began_at, COALESCE(t.owner <> 0, false)
FROM tree JOIN perdure.tasks AS t ON t.incarnation = tree.incarnation
ORDER BY t.incarnation, t.execution, t.event;

-- name: image_entries
-- What they keep.
{{part_image_tree}}
SELECT e.incarnation, e.shelf, e.key, e.value, e.passing_since
FROM tree JOIN perdure.entries AS e ON e.incarnation = tree.incarnation
ORDER BY e.incarnation, e.shelf, e.key;

-- name: image_keys
-- The keys of what clients have sent.
{{part_image_tree}}
SELECT k.incarnation, k.dedup_key
FROM tree JOIN perdure.dedup_keys AS k ON k.incarnation = tree.incarnation
ORDER BY k.incarnation, k.dedup_key;
