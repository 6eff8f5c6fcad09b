-- Every statement of the storage. A step of SQLite releases the interpreter's lock, and taking it back can cost 5 ms
-- when another thread is busy. So there is one step per statement: an answer comes out as one JSON text, with its
-- payloads in one blob, and rows go in together.
--
-- Rows that a commit writes or judges are VALUES, whose one row here is repeated as often as needed (`RowStatement`);
-- unfolding JSON costs more than writing them. A row that stays unused is null. Plain keys go in as one JSON array.

-- name: begin
-- Take the write lock before anything is read, so that nothing that was read can have changed.
BEGIN IMMEDIATE;

-- name: begin_alone
-- Wait until no other connection has the file open at all.
BEGIN EXCLUSIVE;

-- name: schema_objects
-- How many tables, indexes and the like there are.
SELECT count(*) FROM sqlite_schema;

-- name: begin_read
-- A snapshot for statements that belong together.
BEGIN;

-- name: commit
-- Make it durable.
COMMIT;

-- name: rollback
-- Nothing happened.
ROLLBACK;

-- name: data_version
-- A number that moves when another connection has committed.
PRAGMA data_version;

-- name: worker
-- When the worker registered; no row when somebody buried it.
SELECT started_at FROM workers WHERE number = ?1;

-- name: remember_token
-- What the worker's last commit was; changes no row when somebody buried it.
UPDATE workers SET last_token = ?2 WHERE number = ?1;

-- name: is_last_token
-- Whether the worker's last commit was this one.
SELECT last_token IS ?2 FROM workers WHERE number = ?1;

-- name: has_turn
-- Whether a turn that ends with this event of an execution is there; or with ?4, as it begins an instance, may have been,
-- and that was deleted.
SELECT
    EXISTS (SELECT 1 FROM history WHERE incarnation = ?1 AND execution = ?2 AND last_event = ?3)
    OR (
        ?4 AND ?1 <= (SELECT incarnation FROM gone)
        AND NOT EXISTS (SELECT 1 FROM instances WHERE incarnation = ?1)
    );

-- name: judge_turns
-- Of (incarnation, execution, base, local task): where the owner is another or the history is, where the instance is
-- pending or held, or its local task is another, as [incarnation, verdict, local task].
SELECT json_group_array(json_array(incarnation, verdict, local_event))
FROM (
    SELECT
        j.column1 AS incarnation,
        CASE
            WHEN i.owner IS NOT ?1 THEN 'not_owner'
            WHEN i.execution <> j.column2 OR i.last_event <> j.column3 THEN 'stale'
            ELSE i.status
        END AS verdict,
        i.local_event,
        j.column4 AS expected
    FROM (VALUES (?2, ?3, ?4, ?5)) AS j
    LEFT JOIN instances AS i ON i.incarnation = j.column1
    WHERE j.column1 IS NOT NULL
)
WHERE verdict <> 'running' OR local_event IS NOT expected;

-- name: judge_creations
-- Of (number, id, incarnation): the numbers of those whose id (by whom) or incarnation is taken.
SELECT json_group_array(json_array(number, by_id, by_incarnation))
FROM (
    SELECT j.column1 AS number, a.incarnation AS by_id, b.incarnation IS NOT NULL AS by_incarnation
    FROM (VALUES (?1, ?2, ?3)) AS j
    LEFT JOIN instances AS a ON a.id = j.column2
    LEFT JOIN instances AS b ON b.incarnation = j.column3
    WHERE j.column1 IS NOT NULL
)
WHERE by_id IS NOT NULL OR by_incarnation;

-- name: is_gone
-- Whether an instance of this incarnation, or of a higher one, was ever deleted.
SELECT incarnation >= ?1 FROM gone;

-- name: judge_tasks
-- Of [incarnation, execution, event]: the places of tasks that the worker does not own.
SELECT json_group_array(place)
FROM (
    SELECT j.key AS place, t.owner
    FROM jsonb_each(?1) AS j
    LEFT JOIN tasks AS t
        ON t.incarnation = j.value ->> 0 AND t.execution = j.value ->> 1 AND t.event = j.value ->> 2
)
WHERE owner IS NOT ?2;

-- name: judge_deliveries
-- Of [id, dedup key, incarnation if it is for that alone, whether it is to be held]: for each the incarnation, and whether
-- it has closed, and whether it had this key already, and whether it is a copy, whose reason begins with ?2, and whether it
-- is held if it is to be.
SELECT json_group_array(json_array(incarnation, closed, repeated, coming, as_wanted))
FROM (
    SELECT
        i.incarnation,
        ifnull(i.status IN ('completed', 'failed', 'cancelled', 'terminated', 'moved'), 0) AS closed,
        j.value ->> 1 IS NOT NULL AND EXISTS (
            SELECT 1 FROM dedup_keys AS d WHERE d.incarnation = i.incarnation AND d.dedup_key = j.value ->> 1
        ) AS repeated,
        i.status = 'suspended' AND ifnull(substr(i.held_because, 1, length(?2)) = ?2, 0) AS coming,
        NOT j.value ->> 3 OR i.status = 'held' AS as_wanted
    FROM jsonb_each(?1) AS j
    LEFT JOIN instances AS i
        ON i.id = j.value ->> 0 AND (j.value ->> 2 IS NULL OR i.incarnation = j.value ->> 2)
    ORDER BY j.key
);

-- name: incarnations
-- Of ids: which incarnation each has now.
SELECT json_group_object(i.id, i.incarnation)
FROM jsonb_each(?1) AS j CROSS JOIN instances AS i ON i.id = j.value;

-- name: still_open
-- The same of those that are open.
SELECT json_group_object(i.id, i.incarnation)
FROM jsonb_each(?1) AS j CROSS JOIN instances AS i ON i.id = j.value
WHERE i.status NOT IN ('completed', 'failed', 'cancelled', 'terminated', 'moved');

-- name: receivers
-- Of [id, incarnation, child of]: for each the incarnation of its open receiver, or null. A copy, whose reason begins with
-- ?2, is none to who names it by its id alone.
SELECT json_group_array(incarnation)
FROM (
    SELECT i.incarnation
    FROM jsonb_each(?1) AS j
    LEFT JOIN instances AS i
        ON i.incarnation = ifnull(j.value ->> 1, (SELECT n.incarnation FROM instances AS n WHERE n.id = j.value ->> 0))
        AND i.status NOT IN ('completed', 'failed', 'cancelled', 'terminated', 'moved')
        AND (j.value ->> 0 IS NULL OR j.value ->> 2 IS NULL OR i.parent_incarnation = j.value ->> 2)
        AND NOT (
            i.status = 'suspended' AND j.value ->> 0 IS NOT NULL AND j.value ->> 2 IS NULL
            AND ifnull(substr(i.held_because, 1, length(?2)) = ?2, 0)
        )
    ORDER BY j.key
);

-- name: create_instances
-- New instances, the seventh value being when they start; their start messages are added with the others.
INSERT INTO instances (
    incarnation, id, name, version, status, owner, created_at, changed_at, ready_at, root, slot,
    parent_id, parent_incarnation, parent_execution, parent_event,
    cancel_requested, custom_status_version, attributes, custom_status,
    last_event, local_event, local_at, local_name, local_retry, local_input
)
SELECT
    column1, column2, column3, column4, column5, column6, ?1, ?1, max(?1, ifnull(column7, ?1)), column8, column9,
    column10, column11, column12, column13, column14, column15, column16, column17,
    column18, column19, CASE WHEN column19 IS NOT NULL THEN ?1 END, column20, column21, column22
FROM (
    VALUES (
        ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23
    )
)
WHERE column1 IS NOT NULL;

-- name: append_history
-- The events of turns.
INSERT INTO history (incarnation, execution, first_event, last_event, at, format, crc, encoding, data)
SELECT column1, column2, column3, column4, column5, column6, column7, column8, column9
FROM (VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9))
WHERE column1 IS NOT NULL;

-- name: go_on
-- How far turns have brought their instances, and their new local tasks, of (incarnation, last event, event, activity,
-- retry policy, input); the old ones have ended.
UPDATE instances SET
    changed_at = max(changed_at, ?1),
    deliveries = 1,
    last_event = c.last_event,
    local_event = c.event,
    local_at = CASE WHEN c.event IS NOT NULL THEN ?1 END,
    local_name = c.name,
    local_retry = c.retry,
    local_input = c.input
FROM (
    SELECT
        column1 AS incarnation, column2 AS last_event, column3 AS event, column4 AS name, column5 AS retry,
        column6 AS input
    FROM (VALUES (?2, ?3, ?4, ?5, ?6, ?7))
) AS c
WHERE instances.incarnation = c.incarnation;

-- name: create_running
-- New instances as their first turns leave them, with a local task.
INSERT INTO instances (
    incarnation, id, name, version, status, owner, created_at, changed_at, ready_at, root, slot, attributes,
    last_event, local_event, local_at, local_name, local_retry, local_input
)
SELECT
    column1, column2, column3, column4, 'running', ?2, ?1, ?1, ?1, column5, column6, column7,
    column8, column9, ?1, column10, column11, column12
FROM (VALUES (?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14))
WHERE column1 IS NOT NULL;

-- name: go_on_as_expected
-- The same as `go_on` of instances that run, are the worker's and have come as far as expected, of (incarnation, execution,
-- last event and local task until now, last event, event, activity, retry policy, input). An upsert, as UPDATE FROM takes
-- all of a row into a table of its own first: the row is there, and created_at and min_reader bring what is expected.
INSERT INTO instances (
    incarnation, execution, created_at, min_reader, last_event, local_event, local_name, local_retry, local_input,
    changed_at, owner, id, name, status, ready_at, root, slot
)
SELECT
    column1, column2, column3, column4, column5, column6, column7, column8, column9,
    ?1, ?2, '', '', '', 0, '', 0
FROM (VALUES (?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11))
WHERE column1 IS NOT NULL
ON CONFLICT (incarnation) DO UPDATE SET
    changed_at = max(instances.changed_at, excluded.changed_at),
    deliveries = 1,
    last_event = excluded.last_event,
    local_event = excluded.local_event,
    local_at = excluded.changed_at,
    local_name = excluded.local_name,
    local_retry = excluded.local_retry,
    local_input = excluded.local_input
WHERE instances.status = 'running' AND instances.owner = excluded.owner AND instances.execution = excluded.execution
AND instances.last_event = excluded.created_at AND instances.local_event = excluded.min_reader;

-- name: complete_as_expected
-- The same for instances that complete, of (incarnation, execution, last event and local task until now, last event,
-- output).
INSERT INTO instances (
    incarnation, execution, created_at, min_reader, last_event, output,
    changed_at, owner, id, name, status, ready_at, root, slot
)
SELECT
    column1, column2, column3, column4, column5, column6,
    ?1, ?2, '', '', '', 0, '', 0
FROM (VALUES (?3, ?4, ?5, ?6, ?7, ?8))
WHERE column1 IS NOT NULL
ON CONFLICT (incarnation) DO UPDATE SET
    changed_at = max(instances.changed_at, excluded.changed_at),
    held_because = NULL,
    deliveries = 1,
    status = 'completed',
    owner = NULL,
    last_event = excluded.last_event,
    output = ifnull(excluded.output, instances.output),
    local_event = NULL, local_at = NULL, local_name = NULL, local_retry = NULL, local_input = NULL
WHERE instances.status = 'running' AND instances.owner = excluded.owner AND instances.execution = excluded.execution
AND instances.last_event = excluded.created_at AND instances.local_event = excluded.min_reader;

-- name: go_on_beside
-- The same, of (incarnation, last event), while the local task runs on.
UPDATE instances SET changed_at = max(changed_at, ?1), deliveries = 1, last_event = c.last_event
FROM (
    SELECT column1 AS incarnation, column2 AS last_event
    FROM (VALUES (?2, ?3))
) AS c
WHERE instances.incarnation = c.incarnation;

-- name: move_local_tasks
-- Give the local tasks of instances rows of their own.
INSERT INTO local_tasks (incarnation, execution, event, owner, name, at, retry, input)
SELECT l.incarnation, l.execution, l.event, l.owner, l.name, l.at, l.retry, l.input
FROM jsonb_each(?1) AS j
CROSS JOIN local_tasks AS l ON l.incarnation = j.value;

-- name: consume_messages
-- Messages that turns have taken in, of (incarnation, seq); of their own instance only.
DELETE FROM messages WHERE seq IN (
    SELECT m.seq FROM (VALUES (?1, ?2)) AS j
    CROSS JOIN messages AS m ON m.seq = j.column2 AND m.incarnation = j.column1
);

-- name: add_tasks
-- Activities to run, due at once.
INSERT OR REPLACE INTO tasks (
    incarnation, execution, event, owner, name, input, retry, priority, start_by, deadline, expires_at,
    tag, session, lane, limit_key, concurrency, rate, per_us, permit, scheduled_at, due_at
)
SELECT
    column1, column2, column3, column4, column5, column6, column7, column8, ?1 + column9, ?1 + column10,
    ?1 + min(ifnull(column9, column10), ifnull(column10, column9)), column11, column12, column13, column14, column15,
    column16, column17, column18, ?1, ?1
FROM (VALUES (?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19))
WHERE column1 IS NOT NULL;

-- name: add_plain_tasks
-- The same for those that ask for nothing special.
INSERT OR REPLACE INTO tasks (incarnation, execution, event, owner, name, input, retry, scheduled_at, due_at)
SELECT column1, column2, column3, column4, column5, column6, column7, ?1, ?1
FROM (VALUES (?2, ?3, ?4, ?5, ?6, ?7, ?8))
WHERE column1 IS NOT NULL;

-- name: remove_tasks
-- Tasks that have ended or are not wanted any more.
DELETE FROM tasks WHERE (incarnation, execution, event) IN (VALUES (?1, ?2, ?3));

-- name: stop_tasks
-- Tasks that shall stop, of (incarnation, execution, event): their total deadline is now.
UPDATE tasks SET
    stopped = 1, deadline = min(ifnull(deadline, ?1), ?1), expires_at = min(ifnull(expires_at, ?1), ?1)
FROM (
    SELECT column1 AS incarnation, column2 AS execution, column3 AS event
    FROM (VALUES (?2, ?3, ?4))
) AS c
WHERE tasks.incarnation = c.incarnation AND tasks.execution = c.execution AND tasks.event = c.event;

-- name: add_timers
-- Timers of turns.
INSERT OR REPLACE INTO timers (incarnation, execution, event, fire_at)
SELECT column1, column2, column3, column4
FROM (VALUES (?1, ?2, ?3, ?4))
WHERE column1 IS NOT NULL;

-- name: remove_timers
-- Timers that have fired or are not wanted any more.
DELETE FROM timers WHERE (incarnation, execution, event) IN (VALUES (?1, ?2, ?3));

-- name: add_messages
-- Messages, in order of arrival; before the instance's start only control messages fall due.
INSERT INTO messages (incarnation, execution, control, body, due_at)
SELECT i.incarnation, j.column2, j.column3, j.column4, CASE WHEN j.column3 THEN ?1 ELSE max(?1, i.ready_at) END
FROM (VALUES (?2, ?3, ?4, ?5)) AS j
CROSS JOIN instances AS i ON i.incarnation = j.column1;

-- name: add_dedup_keys
-- The keys of what clients have sent.
INSERT INTO dedup_keys (incarnation, dedup_key)
SELECT column1, column2
FROM (VALUES (?1, ?2))
WHERE column1 IS NOT NULL;

-- name: add_parcels
-- What goes to other shards, in order.
INSERT INTO outbox (shard, incarnation, sent_at, body)
SELECT column1, column2, ?1, column3
FROM (VALUES (?2, ?3, ?4))
WHERE column1 IS NOT NULL;

-- name: remove_parcels
-- Of the numbers of parcels: those that were in the outbox, which they leave.
DELETE FROM outbox WHERE seq IN (SELECT value FROM json_each(?1)) RETURNING seq, incarnation;

-- name: parcels
-- What is in the outbox for shard ?1 (null: for all), at most ?2, of the instances ?3 or sent before ?4.
SELECT seq, shard, incarnation, sent_at, body
FROM outbox
WHERE (?1 IS NULL OR shard = ?1)
AND (?3 IS NULL OR incarnation IN (SELECT value FROM json_each(?3)))
AND (?4 IS NULL OR sent_at < ?4)
ORDER BY seq
LIMIT ?2;

-- name: lowest_parcel
-- The lowest number in the outbox, or one above all that were there.
SELECT ifnull(
    (SELECT min(seq) FROM outbox), ifnull((SELECT seq FROM sqlite_sequence WHERE name = 'outbox'), 0) + 1
);

-- name: received_parcels
-- Of parcels of shard ?1 as [number, incarnation]: those that were received, with whether they were passed over.
SELECT json_group_array(json_array(r.seq, r.incarnation, r.skipped))
FROM json_each(?2) AS j
JOIN received AS r ON r.sender = ?1 AND r.seq = j.value ->> 0 AND r.incarnation = j.value ->> 1;

-- name: add_received
-- Parcels of shard ?1 were received; ?2 is as above.
INSERT INTO received (sender, seq, incarnation, skipped)
SELECT ?1, value ->> 0, value ->> 1, value ->> 2 FROM json_each(?2);

-- name: count_received
-- How many there are of shard ?1 below ?2.
SELECT count(*) FROM received WHERE sender = ?1 AND seq < ?2;

-- name: forget_received
-- Parcels of shard ?1 below ?2 won't come again.
DELETE FROM received WHERE sender = ?1 AND seq < ?2;

-- name: shard
-- Which shard this is.
SELECT number, count, fleet FROM shard;

-- name: become_shard
-- It is this one, if it was none.
INSERT INTO shard (number, count, fleet, lone) VALUES (?1, ?2, ?3, 1) ON CONFLICT DO NOTHING;

-- name: put_entries
-- What instances keep under keys.
INSERT OR REPLACE INTO entries (incarnation, shelf, key, passing_since, value)
SELECT column1, column2, column3, CASE WHEN column4 THEN ?1 END, column5
FROM (VALUES (?2, ?3, ?4, ?5, ?6))
WHERE column1 IS NOT NULL;

-- name: remove_entries
-- What they keep no more.
DELETE FROM entries WHERE (incarnation, shelf, key) IN (VALUES (?1, ?2, ?3));

-- name: end_executions_tasks
-- Tasks of executions that end by a continue-as-new.
DELETE FROM tasks WHERE (incarnation, execution) IN (VALUES (?1, ?2));

-- name: end_executions_timers
-- Their timers.
DELETE FROM timers WHERE (incarnation, execution) IN (VALUES (?1, ?2));

-- name: end_executions_messages
-- The outcomes of their activities.
DELETE FROM messages WHERE seq IN (
    SELECT m.seq FROM (VALUES (?1, ?2)) AS j
    CROSS JOIN messages AS m ON m.incarnation = j.column1 AND m.execution = j.column2
);

-- name: add_next_starts
-- The starts of next executions, each before all that waits for its instance.
INSERT INTO messages (incarnation, body, due_at)
SELECT
    j.column1, j.column2,
    min(
        ?1,
        ifnull((SELECT min(m.due_at) FROM messages AS m WHERE m.incarnation = j.column1) - 1, ?1),
        ifnull((SELECT min(t.fire_at) FROM timers AS t WHERE t.incarnation = j.column1) - 1, ?1)
    )
FROM (VALUES (?2, ?3)) AS j
WHERE j.column1 IS NOT NULL;

-- name: change_instances
-- What turns change on their instances; a closing status takes the owner, a continue-as-new the version. Whatever is
-- sent after that one, by whatever clock, falls due behind the next start. What ends has no local task any more.
UPDATE instances SET
    changed_at = max(changed_at, ?1),
    held_because = CASE WHEN ifnull(c.status, instances.status) = 'suspended' THEN instances.held_because END,
    deliveries = 1,
    status = ifnull(
        c.status, CASE WHEN instances.status IN ('pending', 'held') THEN 'running' ELSE instances.status END
    ),
    owner = CASE WHEN c.status IN ('completed', 'failed', 'cancelled', 'terminated', 'moved') THEN NULL ELSE instances.owner END,
    version = CASE WHEN c.restarts THEN c.version ELSE ifnull(c.version, instances.version) END,
    execution = ifnull(c.execution, instances.execution),
    last_event = ifnull(c.last_event, instances.last_event),
    local_event = CASE WHEN NOT c.ends THEN instances.local_event END,
    local_at = CASE WHEN NOT c.ends THEN instances.local_at END,
    local_name = CASE WHEN NOT c.ends THEN instances.local_name END,
    local_retry = CASE WHEN NOT c.ends THEN instances.local_retry END,
    local_input = CASE WHEN NOT c.ends THEN instances.local_input END,
    ready_at = CASE WHEN c.restarts THEN max(?1, instances.ready_at) ELSE instances.ready_at END,
    cancel_requested = instances.cancel_requested OR c.cancel_requested,
    output = ifnull(c.output, instances.output),
    error = ifnull(c.error, instances.error),
    custom_status = ifnull(c.custom_status, instances.custom_status),
    custom_status_version = instances.custom_status_version + c.custom_status_steps,
    min_reader = ifnull(c.min_reader, instances.min_reader)
FROM (
    SELECT
        column1 AS incarnation, column2 AS status, column3 AS version, column4 AS execution,
        column5 AS cancel_requested, column6 AS output, column7 AS error, column8 AS custom_status,
        column9 AS restarts, column10 AS custom_status_steps, column11 AS last_event, column12 AS ends,
        column13 AS min_reader
    FROM (VALUES (?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14))
) AS c
WHERE instances.incarnation = c.incarnation;

-- name: catch_up
-- Instances with events that are later than now, of (incarnation, when the last one was).
UPDATE instances SET changed_at = max(changed_at, c.at)
FROM (SELECT column1 AS incarnation, column2 AS at FROM (VALUES (?1, ?2))) AS c
WHERE instances.incarnation = c.incarnation;

-- name: leftovers
-- Of incarnations: those for which something still waits.
SELECT json_group_array(value) FROM jsonb_each(?1)
WHERE EXISTS (SELECT 1 FROM tasks WHERE incarnation = value)
    OR EXISTS (SELECT 1 FROM timers WHERE incarnation = value)
    OR EXISTS (SELECT 1 FROM messages WHERE incarnation = value);

-- name: clear_tasks
-- The tasks of closed instances.
DELETE FROM tasks WHERE incarnation IN (SELECT value FROM jsonb_each(?1));

-- name: clear_timers
-- Their timers.
DELETE FROM timers WHERE incarnation IN (SELECT value FROM jsonb_each(?1));

-- name: clear_messages
-- Their messages.
DELETE FROM messages WHERE incarnation IN (SELECT value FROM jsonb_each(?1));

-- name: hold_instances
-- Set instances aside, of [incarnation, reason], for those that registered after the worker ?3, or after all.
UPDATE instances SET
    status = 'held', owner = NULL, changed_at = max(changed_at, ?2), held_because = c.reason,
    held_after = ifnull(
        (SELECT w.joined FROM workers AS w WHERE w.number = ?3), (SELECT max(w.joined) FROM workers AS w)
    )
FROM (SELECT value ->> 0 AS incarnation, value ->> 1 AS reason FROM jsonb_each(?1)) AS c
WHERE instances.incarnation = c.incarnation;

-- name: release_instances
-- Hand instances back, of (incarnation, delay); the delay binds only the owner, who hands it back.
UPDATE instances SET
    owner = NULL,
    released_by = CASE WHEN c.delay > 0 THEN instances.owner END,
    released_until = CASE WHEN c.delay > 0 THEN ?1 + c.delay END
FROM (
    SELECT column1 AS incarnation, column2 AS delay
    FROM (VALUES (?2, ?3))
) AS c
WHERE instances.incarnation = c.incarnation;

-- name: beat_tasks
-- What activities say of their progress, or that they are about to be called, of (incarnation, execution, event, details,
-- whether they are).
UPDATE tasks SET
    details = ifnull(c.details, tasks.details),
    began_at = CASE WHEN c.began THEN ?1 ELSE tasks.began_at END,
    start_by = CASE WHEN NOT c.began THEN tasks.start_by END,
    expires_at = CASE WHEN c.began THEN tasks.deadline ELSE tasks.expires_at END
FROM (
    SELECT column1 AS incarnation, column2 AS execution, column3 AS event, column4 AS details, column5 AS began
    FROM (VALUES (?2, ?3, ?4, ?5, ?6))
) AS c
WHERE tasks.incarnation = c.incarnation AND tasks.execution = c.execution AND tasks.event = c.event;

-- name: retry_tasks
-- Put tasks back for another attempt, of (incarnation, execution, event, attempt, delay, error, details, when the attempt
-- was about to be called).
UPDATE tasks SET
    owner = NULL, late = 0, attempt = c.attempt, start_by = NULL, expires_at = tasks.deadline, due_at = ?1 + c.delay,
    delayed = c.delay > 0, last_error = c.error, details = ifnull(c.details, tasks.details),
    deliveries = min(tasks.deliveries, 3),
    began_at = CASE WHEN tasks.began_at IS NOT c.began_at THEN tasks.began_at END
FROM (
    SELECT
        column1 AS incarnation, column2 AS execution, column3 AS event, column4 AS attempt, column5 AS delay,
        column6 AS error, column7 AS details, column8 AS began_at
    FROM (VALUES (?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9))
) AS c
WHERE tasks.incarnation = c.incarnation AND tasks.execution = c.execution AND tasks.event = c.event;

-- name: release_tasks
-- Put tasks back untouched, of (incarnation, execution, event, delay, details).
UPDATE tasks SET
    owner = NULL, late = 0, due_at = ?1 + c.delay, delayed = c.delay > 0, details = ifnull(c.details, tasks.details),
    deliveries = min(tasks.deliveries, 3)
FROM (
    SELECT column1 AS incarnation, column2 AS execution, column3 AS event, column4 AS delay, column5 AS details
    FROM (VALUES (?2, ?3, ?4, ?5, ?6))
) AS c
WHERE tasks.incarnation = c.incarnation AND tasks.execution = c.execution AND tasks.event = c.event;

-- name: suspend_instance
-- Set an instance aside until somebody resumes it.
UPDATE instances SET
    status = 'suspended', owner = NULL, changed_at = max(changed_at + 1, ?2), held_because = ?3
WHERE incarnation = ?1;

-- name: resume_instance
-- Let a held or suspended instance go on.
UPDATE instances SET
    status = CASE WHEN execution = 1 AND last_event = 0 THEN 'pending' ELSE 'running' END,
    held_because = NULL, deliveries = 1, changed_at = max(changed_at + 1, ?2), released_by = NULL, released_until = NULL
WHERE incarnation = ?1;

-- name: tell_decision
-- Let an instance tell that somebody has decided about a task of it.
UPDATE instances SET changed_at = changed_at + 1 WHERE incarnation = ?1;

-- name: held_task_events
-- The held tasks of an instance, or that of one event, or those that are held for a reason, or were about to be called at
-- one moment.
SELECT json_group_array(event) FROM tasks
WHERE incarnation = ?1 AND held_because IS NOT NULL AND (?2 IS NULL OR event = ?2)
AND (?3 IS NULL OR held_because = ?3) AND (?4 IS NULL OR began_at = ?4);

-- name: resume_tasks
-- Let the held tasks of an instance, or that of one event, or those that are held for a reason, go on; with ?4 those that
-- were about to be called then, which may be called once more.
UPDATE tasks SET
    held_at = NULL, held_because = NULL, deliveries = 1, due_at = ?5, delayed = 0,
    began_at = CASE WHEN ?4 IS NULL THEN began_at END
WHERE incarnation = ?1 AND held_because IS NOT NULL AND (?2 IS NULL OR event = ?2)
AND (?3 IS NULL OR held_because = ?3) AND (?4 IS NULL OR began_at = ?4);

-- name: hold_task
-- Set a task aside: at the end of time it is due again.
UPDATE tasks SET
    owner = NULL, late = 0, held_at = ?4, held_because = ?5, due_at = ?6, delayed = 1, start_by = NULL, expires_at = deadline
WHERE incarnation = ?1 AND execution = ?2 AND event = ?3;

-- name: task_stands
-- Who owns a task, why it is held, and since when.
SELECT json_array(owner, held_because, held_at) FROM tasks WHERE incarnation = ?1 AND execution = ?2 AND event = ?3;

-- name: try_instance
-- Count a delivery of an instance.
UPDATE instances SET deliveries = deliveries + 1 WHERE incarnation = ?1;

-- name: try_task
-- Count a delivery of a task.
UPDATE tasks SET deliveries = deliveries + 1 WHERE incarnation = ?1 AND execution = ?2 AND event = ?3;

-- name: parent_is_open
-- Whether the instance is the child of an open one.
SELECT EXISTS (
    SELECT 1 FROM instances AS i CROSS JOIN instances AS p ON p.incarnation = i.parent_incarnation
    WHERE i.incarnation = ?1 AND p.status NOT IN ('completed', 'failed', 'cancelled', 'terminated', 'moved')
);

-- name: open_children
-- The open children of an instance.
SELECT json_group_array(incarnation)
FROM (
    SELECT incarnation FROM instances
    WHERE parent_incarnation = ?1 AND status NOT IN ('completed', 'failed', 'cancelled', 'terminated', 'moved')
    ORDER BY incarnation
);

-- name: tree
-- The instance and everything below it: how many, how many open, whether it has a parent, and their incarnations.
WITH RECURSIVE tree (incarnation) AS (
    SELECT ?1
    UNION ALL
    SELECT c.incarnation FROM tree CROSS JOIN instances AS c ON c.parent_incarnation = tree.incarnation
)
SELECT json_array(
    count(*),
    sum(i.status NOT IN ('completed', 'failed', 'cancelled', 'terminated', 'moved')),
    (
        SELECT p.incarnation IS NOT NULL FROM instances AS r
        LEFT JOIN instances AS p ON p.incarnation = r.parent_incarnation WHERE r.incarnation = ?1
    ),
    json_group_array(i.incarnation)
)
FROM tree CROSS JOIN instances AS i ON i.incarnation = tree.incarnation;

-- name: delete_instances
-- Instances, and by a trigger all that belongs to them.
DELETE FROM instances WHERE incarnation IN (SELECT value FROM jsonb_each(?1));

-- name: past_executions
-- The executions of an instance up to ?2 whose last turn was before ?3, if that is given.
SELECT json_group_array(execution)
FROM (
    SELECT execution FROM history WHERE incarnation = ?1 AND execution <= ?2
    GROUP BY execution HAVING ?3 IS NULL OR max(at) < ?3
);

-- name: delete_executions
-- The histories of some executions of an instance.
DELETE FROM history WHERE incarnation = ?1 AND execution IN (SELECT value FROM jsonb_each(?2));

-- name: lapsed
-- Of the ?2 instances behind ?1: how many there are, the last of them, the roots that completed before ?3 or ended
-- otherwise before ?4, and those that have a history beyond ?5 executions, as [id, incarnation].
WITH seen AS MATERIALIZED (
    SELECT incarnation, id, status, execution, parent_incarnation, changed_at
    FROM instances WHERE incarnation > ?1 ORDER BY incarnation LIMIT ?2
)
SELECT json_array(
    (SELECT count(*) FROM seen),
    (SELECT max(incarnation) FROM seen),
    json((
        SELECT json_group_array(json_array(s.id, s.incarnation)) FROM seen AS s
        WHERE (
            (s.status = 'completed' AND s.changed_at < ?3)
            OR (s.status IN ('failed', 'cancelled', 'terminated', 'moved') AND s.changed_at < ?4)
        )
        AND NOT EXISTS (SELECT 1 FROM instances AS p WHERE p.incarnation = s.parent_incarnation)
    )),
    json((
        SELECT json_group_array(json_array(s.id, s.incarnation)) FROM seen AS s
        WHERE s.execution > ?5 AND EXISTS (
            SELECT 1 FROM history AS h WHERE h.incarnation = s.incarnation AND h.execution <= s.execution - ?5
        )
    ))
);

-- name: remove_passing_entries
-- What was kept for a while only, and long enough.
DELETE FROM entries WHERE passing_since <= ?1;

-- name: entries
-- What an instance keeps on a shelf, in order of keys.
SELECT key, value FROM entries WHERE incarnation = ?1 AND shelf = ?2 ORDER BY key;

-- name: entries_of_keys
-- The same of these keys.
SELECT key, value FROM entries
WHERE incarnation = ?1 AND shelf = ?2 AND key IN (SELECT j.value FROM jsonb_each(?3) AS j)
ORDER BY key;

-- name: waiting
-- The earliest message, timer, delayed task and deadline of a task, whether a task is in line, whether one is in a lane,
-- which tags the worker serves, if not none, and whether there is a control message.
SELECT json_array(
    (SELECT min(due_at) FROM messages),
    (SELECT min(fire_at) FROM timers),
    (SELECT min(due_at) FROM tasks WHERE owner IS NULL AND delayed = 1),
    (SELECT min(expires_at) FROM tasks WHERE owner IS NULL AND expires_at IS NOT NULL),
    (
        SELECT max(priority) FROM tasks INDEXED BY tasks_in_line
        WHERE owner IS NULL AND delayed = 0 AND lane IS NULL
    ) IS NOT NULL,
    (SELECT min(due_at) FROM tasks INDEXED BY tasks_due_in_lanes WHERE owner IS NULL AND lane IS NOT NULL) IS NOT NULL,
    (SELECT serves FROM workers WHERE number = ?1),
    (SELECT min(incarnation) FROM messages INDEXED BY messages_of_control WHERE control = 1) IS NOT NULL
);

-- name: part_suits
-- Whether the worker can run the instance i: what was held while it was there already, it has failed at.
(i.status IN ('pending', 'running') OR (
    i.status = 'held' AND i.held_after < (SELECT w.joined FROM workers AS w WHERE w.number = ?2)
)) AND EXISTS (
    SELECT 1 FROM abilities AS a
    WHERE a.worker = ?2 AND a.kind = 'orchestration' AND a.name = i.name
    AND (i.version IS NULL OR a.version = i.version) AND a.reader >= i.min_reader
);

-- name: part_may_run
-- Whether the worker may go on with the instance i.
((i.released_by IS NOT ?2 OR i.released_until <= ?1) AND {{part_suits}});

-- name: part_is_copy
-- Whether the instance i is a copy, whose reason begins with ?3.
(i.status = 'suspended' AND ifnull(substr(i.held_because, 1, length(?3)) = ?3, 0));

-- name: part_has_control
-- Whether a control message is due for the instance i, which reaches any but a copy.
(EXISTS (
    SELECT 1 FROM messages AS c WHERE c.control = 1 AND c.incarnation = i.incarnation AND c.due_at <= ?1
) AND NOT {{part_is_copy}});

-- name: due_by_message
-- Due messages of instances that the worker may take, behind (due, incarnation): [due, incarnation, owned already].
SELECT json_group_array(json_array(due_at, incarnation, owned))
FROM (
    SELECT m.due_at, m.incarnation, i.owner IS NOT NULL AS owned
    FROM messages AS m
    CROSS JOIN instances AS i ON i.incarnation = m.incarnation
    WHERE m.due_at <= ?1 AND (m.due_at, m.incarnation) > (?4, ?5) AND (i.owner IS NULL OR i.owner = ?2)
    AND ({{part_may_run}} OR {{part_has_control}})
    ORDER BY m.due_at, m.incarnation
    LIMIT ?6
);

-- name: due_by_timer
-- The same for timers.
SELECT json_group_array(json_array(fire_at, incarnation, owned))
FROM (
    SELECT t.fire_at, t.incarnation, i.owner IS NOT NULL AS owned
    FROM timers AS t
    CROSS JOIN instances AS i ON i.incarnation = t.incarnation
    WHERE t.fire_at <= ?1 AND (t.fire_at, t.incarnation) > (?4, ?5) AND (i.owner IS NULL OR i.owner = ?2)
    AND ({{part_may_run}} OR {{part_has_control}})
    ORDER BY t.fire_at, t.incarnation
    LIMIT ?6
);

-- name: not_to_run
-- Of incarnations: those that the worker may not run.
SELECT json_group_array(i.incarnation)
FROM jsonb_each(?3) AS j
CROSS JOIN instances AS i ON i.incarnation = j.value
WHERE NOT {{part_may_run}};

-- name: own_instances
-- Give instances to the worker.
UPDATE instances SET owner = ?2, released_by = NULL, released_until = NULL
WHERE incarnation IN (SELECT value FROM jsonb_each(?1));

-- name: records
-- The records of instances, in the order asked for.
SELECT json_group_array(json_array(
    r.id, r.incarnation, r.name, r.version, r.status, r.execution, r.created_at, r.changed_at, r.last_event, r.owner,
    r.cancel_requested, r.custom_status_version, r.held_because, r.root,
    r.parent_id, r.parent_incarnation, r.parent_execution, r.parent_event, r.deliveries, r.min_reader, r.resets,
    CASE WHEN r.attributes IS NOT NULL THEN hex(r.attributes) END,
    CASE WHEN r.custom_status IS NOT NULL THEN hex(r.custom_status) END,
    CASE WHEN r.output IS NOT NULL THEN hex(r.output) END,
    CASE WHEN r.error IS NOT NULL THEN hex(r.error) END
))
FROM (SELECT key, value FROM jsonb_each(?1) ORDER BY key) AS j
CROSS JOIN instances AS r ON r.incarnation = j.value;

-- name: due_messages
-- Of incarnations: the due messages of each in order, at most ?3, as [place, due, seq, size], and their bodies.
SELECT
    json_group_array(json_array(place, due_at, seq, size)),
    CAST(group_concat(body, '') AS BLOB)
FROM (
    SELECT j.key AS place, m.due_at, m.seq, length(m.body) AS size, m.body
    FROM jsonb_each(?1) AS j
    CROSS JOIN messages AS m ON m.seq IN (
        SELECT d.seq FROM messages AS d WHERE d.incarnation = j.value AND d.due_at <= ?2
        ORDER BY d.due_at, d.seq LIMIT ?3
    )
    ORDER BY j.key, m.due_at, m.seq
);

-- name: due_control
-- The same of control messages alone.
SELECT
    json_group_array(json_array(place, due_at, seq, size)),
    CAST(group_concat(body, '') AS BLOB)
FROM (
    SELECT j.key AS place, m.due_at, m.seq, length(m.body) AS size, m.body
    FROM jsonb_each(?1) AS j
    CROSS JOIN messages AS m ON m.seq IN (
        SELECT d.seq FROM messages AS d INDEXED BY messages_of_control
        WHERE d.control = 1 AND d.incarnation = j.value AND d.due_at <= ?2
        ORDER BY d.due_at, d.seq LIMIT ?3
    )
    ORDER BY j.key, m.due_at, m.seq
);

-- name: due_timers
-- Of incarnations: their due timers as [incarnation, due, event, execution].
SELECT json_group_array(json_array(incarnation, fire_at, event, execution))
FROM (
    SELECT t.incarnation, t.fire_at, t.event, t.execution FROM timers AS t
    WHERE t.fire_at <= ?2 AND t.incarnation IN (SELECT value FROM jsonb_each(?1))
    ORDER BY t.fire_at
);

-- name: wake_tasks
-- Put the delayed tasks in line that are due and that the worker can run.
UPDATE tasks SET delayed = 0
WHERE owner IS NULL AND delayed = 1 AND lane IS NULL AND due_at <= ?1 AND EXISTS (
    SELECT 1 FROM abilities AS a WHERE a.worker = ?2 AND a.kind = 'activity' AND a.name = tasks.name
);

-- name: can_wake_tasks
-- Whether there are such tasks.
SELECT EXISTS (
    SELECT 1 FROM tasks AS t
    WHERE t.owner IS NULL AND t.delayed = 1 AND t.lane IS NULL AND t.due_at <= ?1 AND EXISTS (
        SELECT 1 FROM abilities AS a WHERE a.worker = ?2 AND a.kind = 'activity' AND a.name = t.name
    )
);

-- name: wake_lanes
-- Put the delayed tasks of all lanes forward that are due.
UPDATE tasks SET delayed = 0
WHERE owner IS NULL AND lane IS NOT NULL AND due_at <= ?1 AND delayed = 1;

-- name: can_wake_lanes
-- Whether there are such tasks.
SELECT EXISTS (
    SELECT 1 FROM tasks INDEXED BY tasks_delayed
    WHERE owner IS NULL AND delayed = 1 AND lane IS NOT NULL AND due_at <= ?1
);

-- name: lanes
-- The lanes in which something waits, but those of keys with no place, as [lane, concurrency, [rate, per], running].
-- A lane that is full costs three steps, each in an index alone.
WITH RECURSIVE lanes (lane) AS (
    SELECT min(t.lane) FROM tasks AS t INDEXED BY tasks_in_lanes WHERE t.owner IS NULL AND t.lane IS NOT NULL
    UNION ALL
    -- From one lane to the next, so that a long one costs a single step.
    SELECT (
        SELECT min(t.lane) FROM tasks AS t INDEXED BY tasks_in_lanes WHERE t.owner IS NULL AND t.lane > lanes.lane
    )
    FROM lanes WHERE lanes.lane IS NOT NULL
),
named (lane, tag_and_key) AS (
    SELECT lane, substr(lane, instr(lane, char(10)) + 1) FROM lanes WHERE lane IS NOT NULL
),
keyed (lane, limit_key) AS MATERIALIZED (
    SELECT lane, nullif(substr(tag_and_key, instr(tag_and_key, char(10)) + 1), '') FROM named
),
used (lane, limit_key, concurrency, running) AS MATERIALIZED (
    SELECT
        k.lane, k.limit_key,
        -- What was declared last is what holds.
        (
            SELECT d.concurrency FROM tasks AS d INDEXED BY tasks_of_limits
            WHERE d.limit_key = k.limit_key
            ORDER BY d.scheduled_at DESC, d.incarnation DESC, d.execution DESC, d.event DESC LIMIT 1
        ),
        (
            SELECT count(*) FROM tasks AS p INDEXED BY tasks_with_place
            WHERE p.limit_key = k.limit_key AND p.owner IS NOT NULL AND p.late = 0
        )
    FROM keyed AS k
)
SELECT json_group_array(json_array(u.lane, u.concurrency, json((
    SELECT json_array(d.rate, d.per_us) FROM tasks AS d INDEXED BY tasks_of_limits
    WHERE d.limit_key = u.limit_key
    ORDER BY d.scheduled_at DESC, d.incarnation DESC, d.execution DESC, d.event DESC LIMIT 1
)), u.running))
FROM used AS u WHERE u.concurrency IS NULL OR u.concurrency > u.running;

-- name: starts
-- Of limit keys: how many began when, as [key, at, many], the latest first.
SELECT json_group_array(json_array(limit_key, at, many))
FROM (
    SELECT s.limit_key, s.at, s.many FROM starts AS s
    WHERE s.limit_key IN (SELECT value FROM jsonb_each(?1)) ORDER BY s.limit_key, s.at DESC
);

-- name: count_starts
-- So many of limit keys begin now, of [key, many, per].
INSERT INTO starts (limit_key, at, until, many)
SELECT value ->> 0, ?2, ?2 + (value ->> 2), value ->> 1 FROM jsonb_each(?1) WHERE true
ON CONFLICT (limit_key, at) DO UPDATE SET many = many + excluded.many, until = excluded.until;

-- name: forget_starts
-- What counts no more.
DELETE FROM starts WHERE until <= ?1;

-- name: tasks_in_lane
-- The first tasks of the lane ?4 that the worker can run.
SELECT json_group_array(json_array(-priority, scheduled_at, incarnation, execution, event))
FROM (
    SELECT t.priority, t.scheduled_at, t.incarnation, t.execution, t.event
    FROM tasks AS t INDEXED BY tasks_in_lanes
    WHERE t.owner IS NULL AND t.lane = ?4 AND t.delayed = 0 AND t.due_at <= ?1
    AND (t.expires_at IS NULL OR t.expires_at > ?1) AND EXISTS (
        SELECT 1 FROM abilities AS a WHERE a.worker = ?2 AND a.kind = 'activity' AND a.name = t.name
    )
    ORDER BY t.priority DESC, t.scheduled_at, t.incarnation, t.execution, t.event
    LIMIT ?3
);

-- name: tasks_of_sessions_in_lane
-- The same of a lane with sessions, of these sessions.
SELECT json_group_array(json_array(-priority, scheduled_at, incarnation, execution, event))
FROM (
    SELECT t.priority, t.scheduled_at, t.incarnation, t.execution, t.event
    FROM tasks AS t INDEXED BY tasks_in_lanes
    WHERE t.owner IS NULL AND t.lane = ?4 AND t.delayed = 0 AND t.due_at <= ?1
    AND (t.expires_at IS NULL OR t.expires_at > ?1) AND EXISTS (
        SELECT 1 FROM abilities AS a WHERE a.worker = ?2 AND a.kind = 'activity' AND a.name = t.name
    )
    AND t.session IN (SELECT value FROM jsonb_each(?5))
    ORDER BY t.priority DESC, t.scheduled_at, t.incarnation, t.execution, t.event
    LIMIT ?3
);

-- name: tasks_of_nobodys_sessions
-- The same, of sessions that nobody has, with them.
SELECT json_group_array(json_array(-priority, scheduled_at, incarnation, execution, event, session))
FROM (
    SELECT t.priority, t.scheduled_at, t.incarnation, t.execution, t.event, t.session
    FROM tasks AS t INDEXED BY tasks_in_lanes
    WHERE t.owner IS NULL AND t.lane = ?4 AND t.delayed = 0 AND t.due_at <= ?1
    AND (t.expires_at IS NULL OR t.expires_at > ?1) AND EXISTS (
        SELECT 1 FROM abilities AS a WHERE a.worker = ?2 AND a.kind = 'activity' AND a.name = t.name
    )
    AND NOT EXISTS (SELECT 1 FROM sessions AS s WHERE s.session = t.session)
    ORDER BY t.priority DESC, t.scheduled_at, t.incarnation, t.execution, t.event
    LIMIT ?3
);

-- name: sessions_of_worker
-- The sessions of the worker as [session, used at, needed]: needed is one of which it runs a task, or of which one
-- waits in these lanes that it can run.
SELECT json_group_array(json_array(
    s.session, s.used_at,
    EXISTS (SELECT 1 FROM tasks AS t INDEXED BY tasks_of_sessions WHERE t.session = s.session AND t.owner = ?2)
    OR EXISTS (
        SELECT 1 FROM tasks AS t INDEXED BY tasks_of_sessions
        WHERE t.session = s.session AND t.owner IS NULL AND t.delayed = 0 AND t.due_at <= ?1
        AND (t.expires_at IS NULL OR t.expires_at > ?1) AND t.lane IN (SELECT value FROM jsonb_each(?3)) AND EXISTS (
            SELECT 1 FROM abilities AS a WHERE a.worker = ?2 AND a.kind = 'activity' AND a.name = t.name
        )
    )
))
FROM sessions AS s WHERE s.worker = ?2;

-- name: use_sessions
-- Sessions are the worker's, if they are not yet, and used now.
INSERT INTO sessions (session, worker, used_at, idle_us)
SELECT value, ?2, ?3, ?4 FROM jsonb_each(?1) WHERE true
ON CONFLICT (session) DO UPDATE SET used_at = excluded.used_at;

-- name: are_there_sessions
-- Whether any worker has a session.
SELECT EXISTS (SELECT 1 FROM sessions);

-- name: keep_sessions
-- Those of the worker are used now of which it runs a task, where a part of their time has passed.
UPDATE sessions SET used_at = ?1
WHERE worker = ?2 AND used_at + idle_us / ?3 <= ?1 AND EXISTS (
    SELECT 1 FROM tasks AS t INDEXED BY tasks_of_sessions
    WHERE t.session = sessions.session AND t.owner = sessions.worker
);

-- name: idle_sessions
-- Those that nobody has used for long enough.
SELECT json_group_array(session) FROM sessions AS s
WHERE s.used_at + s.idle_us <= ?1 AND NOT EXISTS (
    SELECT 1 FROM tasks AS t INDEXED BY tasks_of_sessions WHERE t.session = s.session AND t.owner = s.worker
);

-- name: free_sessions
-- Nobody has these any more.
DELETE FROM sessions WHERE session IN (SELECT value FROM jsonb_each(?1));

-- name: places_in_lane
-- The first of the lane ?3 that wait for a place for their instance, which runs.
SELECT json_group_array(json_array(-priority, scheduled_at, incarnation, execution, event))
FROM (
    SELECT t.priority, t.scheduled_at, t.incarnation, t.execution, t.event
    FROM tasks AS t INDEXED BY tasks_in_lanes
    CROSS JOIN instances AS i ON i.incarnation = t.incarnation AND i.status = 'running'
    WHERE t.owner IS NULL AND t.lane = ?3 AND t.delayed = 0 AND t.due_at <= ?1
    AND (t.expires_at IS NULL OR t.expires_at > ?1)
    ORDER BY t.priority DESC, t.scheduled_at, t.incarnation, t.execution, t.event
    LIMIT ?2
);

-- name: give_places
-- Tell instances, of [incarnation, execution, event], that they have the places that they wait for.
INSERT INTO messages (incarnation, execution, body, due_at)
SELECT t.incarnation, t.execution, t.permit, max(?2, i.ready_at)
FROM jsonb_each(?1) AS j
CROSS JOIN tasks AS t ON t.incarnation = j.value ->> 0 AND t.execution = j.value ->> 1 AND t.event = j.value ->> 2
CROSS JOIN instances AS i ON i.incarnation = t.incarnation
ORDER BY j.key;

-- name: mark_late_tasks
-- What is too late does not run, so it needs no place.
UPDATE tasks SET late = 1
WHERE limit_key IS NOT NULL AND expires_at <= ?2 AND (incarnation, execution, event) IN (
    SELECT value ->> 0, value ->> 1, value ->> 2 FROM jsonb_each(?1)
);

-- name: tasks_in_line
-- The first tasks that the worker can run, as [minus priority, scheduled at, incarnation, execution, event].
SELECT json_group_array(json_array(-priority, scheduled_at, incarnation, execution, event))
FROM (
    SELECT t.priority, t.scheduled_at, t.incarnation, t.execution, t.event
    FROM tasks AS t INDEXED BY tasks_in_line
    WHERE t.owner IS NULL AND t.delayed = 0 AND t.lane IS NULL AND t.due_at <= ?1 AND EXISTS (
        SELECT 1 FROM abilities AS a WHERE a.worker = ?2 AND a.kind = 'activity' AND a.name = t.name
    )
    ORDER BY t.priority DESC, t.scheduled_at, t.incarnation, t.execution, t.event
    LIMIT ?3
);

-- name: tasks_expired
-- The first tasks without owner that are too late, whatever their activity.
SELECT json_group_array(json_array(-priority, scheduled_at, incarnation, execution, event))
FROM (
    SELECT t.priority, t.scheduled_at, t.incarnation, t.execution, t.event
    FROM tasks AS t
    WHERE t.owner IS NULL AND t.expires_at IS NOT NULL AND t.expires_at <= ?1
    ORDER BY t.priority DESC, t.scheduled_at, t.incarnation, t.execution, t.event
    LIMIT ?2
);

-- name: own_tasks
-- Give tasks to the worker.
UPDATE tasks SET owner = ?2 WHERE (incarnation, execution, event) IN (
    SELECT value ->> 0, value ->> 1, value ->> 2 FROM jsonb_each(?1)
);

-- name: task_standings
-- Of [incarnation, execution, event]: for each whether it was stopped, or null when the worker does not own it.
SELECT json_group_array(stopped)
FROM (
    SELECT ifnull(t.stopped, CASE WHEN i.incarnation IS NOT NULL THEN 0 END) AS stopped
    FROM jsonb_each(?1) AS j
    LEFT JOIN instances AS i
        ON i.incarnation = j.value ->> 0 AND i.execution = j.value ->> 1 AND i.local_event = j.value ->> 2
        AND i.owner = ?2
    LEFT JOIN tasks AS t
        ON t.incarnation = j.value ->> 0 AND t.execution = j.value ->> 1 AND t.event = j.value ->> 2 AND t.owner = ?2
    ORDER BY j.key
);

-- name: claimed_tasks
-- Tasks in the order asked for, and their retry policies, inputs, last errors and details.
SELECT
    json_group_array(json_array(
        incarnation, id, orchestration, version, execution, event, name, scheduled_at, attempt, deliveries, tag,
        session, priority, deadline, start_by, stopped, began, limited, retry_size, input_size, error_size,
        details_size
    )),
    CAST(group_concat(payload, '') AS BLOB)
FROM (
    SELECT
        t.incarnation, i.id, i.name AS orchestration, ifnull(i.version, '') AS version, t.execution, t.event, t.name,
        t.scheduled_at, t.attempt, t.deliveries, t.tag, t.session, t.priority, t.deadline, t.start_by, t.stopped,
        t.began_at IS NOT NULL AS began, t.limit_key IS NOT NULL AND t.late = 0 AS limited,
        length(t.retry) AS retry_size, length(t.input) AS input_size, length(t.last_error) AS error_size,
        length(t.details) AS details_size,
        ifnull(t.retry, x'') || t.input || ifnull(t.last_error, x'') || ifnull(t.details, x'') AS payload
    FROM jsonb_each(?1) AS j
    CROSS JOIN tasks AS t
        ON t.incarnation = j.value ->> 0 AND t.execution = j.value ->> 1 AND t.event = j.value ->> 2
    CROSS JOIN instances AS i ON i.incarnation = t.incarnation
    ORDER BY j.key
);

-- name: next_row_due
-- The earliest later moment at which a message or a timer becomes claimable.
SELECT min(moment)
FROM (
    SELECT (
        SELECT m.due_at
        FROM messages AS m
        CROSS JOIN instances AS i ON i.incarnation = m.incarnation
        WHERE m.due_at > ?1 AND (i.owner IS NULL OR i.owner = ?2) AND (
            (m.control AND NOT {{part_is_copy}})
            OR (
                (i.released_by IS NOT ?2 OR i.released_until <= m.due_at) AND {{part_suits}}
            )
        )
        ORDER BY m.due_at LIMIT 1
    ) AS moment
    UNION ALL
    SELECT (
        SELECT t.fire_at
        FROM timers AS t
        CROSS JOIN instances AS i ON i.incarnation = t.incarnation
        WHERE t.fire_at > ?1 AND (i.owner IS NULL OR i.owner = ?2)
        AND (i.released_by IS NOT ?2 OR i.released_until <= t.fire_at) AND {{part_suits}}
        ORDER BY t.fire_at LIMIT 1
    )
    UNION ALL
    SELECT (
        SELECT i.released_until
        FROM instances AS i
        WHERE i.released_by = ?2 AND i.released_until > ?1 AND i.owner IS NULL
        AND {{part_suits}}
        AND (
            EXISTS (SELECT 1 FROM messages AS m WHERE m.incarnation = i.incarnation
                    AND m.due_at <= i.released_until AND m.control = 0)
            OR EXISTS (SELECT 1 FROM timers AS t WHERE t.incarnation = i.incarnation AND t.fire_at <= i.released_until)
        )
        ORDER BY i.released_until LIMIT 1
    )
);

-- name: next_task_due
-- The earliest later moment at which a task becomes claimable.
SELECT min(moment)
FROM (
    SELECT (
        SELECT t.due_at FROM tasks AS t
        WHERE t.owner IS NULL AND t.delayed = 1 AND t.due_at > ?1 AND (t.expires_at IS NULL OR t.expires_at > ?1)
        AND t.lane IS NULL AND ?3 AND EXISTS (
            SELECT 1 FROM abilities AS a WHERE a.worker = ?2 AND a.kind = 'activity' AND a.name = t.name
        )
        ORDER BY t.due_at LIMIT 1
    ) AS moment
    UNION ALL
    SELECT (
        -- Only there when another process was ahead in time.
        SELECT min(t.due_at)
        FROM abilities AS a
        CROSS JOIN tasks AS t INDEXED BY tasks_by_name
            ON t.owner IS NULL AND t.permit IS NULL AND t.name = a.name AND t.delayed = 0 AND t.due_at > ?1
        WHERE a.worker = ?2 AND a.kind = 'activity' AND (t.expires_at IS NULL OR t.expires_at > ?1)
        AND t.lane IS NULL AND ?3
    )
    UNION ALL
    SELECT (
        SELECT t.expires_at FROM tasks AS t
        WHERE t.owner IS NULL AND t.expires_at IS NOT NULL AND t.expires_at > ?1 AND NOT (
            t.due_at <= ?1 AND t.lane IS NULL AND ?3 AND EXISTS (
                SELECT 1 FROM abilities AS a WHERE a.worker = ?2 AND a.kind = 'activity' AND a.name = t.name
            )
        )
        ORDER BY t.expires_at LIMIT 1
    )
    UNION ALL
    SELECT (
        SELECT min(t.due_at) FROM tasks AS t INDEXED BY tasks_due_in_lanes
        WHERE t.owner IS NULL AND t.lane IS NOT NULL AND t.due_at > ?1
    )
);

-- name: add_worker
-- A worker, in order of registration; behind all that an instance which is held says it was held after.
INSERT INTO workers (
    number, name, pid, host, started_at, lease_us, lease_until, joined, orchestrations, activities, serves
)
VALUES (
    ?1, ?2, ?3, ?4, ?5, ?6, ?7,
    1 + max(
        (SELECT ifnull(max(joined), 0) FROM workers),
        (SELECT ifnull(max(held_after), 0) FROM instances WHERE status = 'held')
    ),
    ?8, ?9, ?10
);

-- name: add_abilities
-- What the worker has code for, of [kind, name, version].
INSERT OR IGNORE INTO abilities (worker, kind, name, version, reader)
SELECT ?2, value ->> 0, value ->> 1, value ->> 2, ?3 FROM jsonb_each(?1);

-- name: extend_lease
-- The worker lives.
UPDATE workers SET lease_until = ?2 + lease_us WHERE number = ?1;

-- name: workers
-- All workers, in order of registration.
SELECT number, name, pid, host, started_at, lease_until, orchestrations, activities, serves FROM workers ORDER BY joined;

-- name: worker_leases
-- All workers, with the end of their leases.
SELECT json_group_array(json_array(number, lease_until)) FROM workers;

-- name: disown_instances
-- Free the instances of workers that are gone; ?2 says whether they died with them, which counts up to 3 by itself.
UPDATE instances SET
    owner = NULL,
    deliveries = CASE WHEN ?2 THEN max(deliveries, min(deliveries + 1, 3)) ELSE min(deliveries, 3) END
WHERE incarnation IN (
    SELECT i.incarnation FROM instances AS i
    WHERE i.status <> 'completed' AND i.status IN ('pending', 'running', 'held', 'suspended')
    AND i.owner IN (SELECT value FROM jsonb_each(?1))
);

-- name: disown_tasks
-- Free their tasks, which wait from now on; ?2 says whether they died with them.
UPDATE tasks SET
    owner = NULL,
    late = 0,
    deliveries = CASE WHEN ?2 THEN max(deliveries, min(deliveries + 1, 3)) ELSE min(deliveries, 3) END,
    start_by = CASE WHEN ?2 THEN NULL ELSE start_by END,
    expires_at = CASE WHEN ?2 THEN deadline ELSE expires_at END,
    due_at = max(due_at, ?3),
    delayed = due_at > ?3
WHERE owner IN (SELECT value FROM jsonb_each(?1));

-- name: disown_sessions
-- Nobody has their sessions any more.
DELETE FROM sessions WHERE worker IN (SELECT value FROM jsonb_each(?1));

-- name: remove_abilities
-- What they had code for.
DELETE FROM abilities WHERE worker IN (SELECT value FROM jsonb_each(?1));

-- name: remove_workers
-- The workers themselves.
DELETE FROM workers WHERE number IN (SELECT value FROM jsonb_each(?1));

-- name: unknown_waiting
-- Of the messages that have been due since ?1 those behind the place ?3 and ?4, of the timers those behind ?5 and ?6, of each the
-- first ?2: the last of these, if there are so many, and the instances that nobody owns, while no worker has their code.
WITH told (due, incarnation) AS MATERIALIZED (
    SELECT m.due_at, m.incarnation FROM messages AS m INDEXED BY messages_by_due
    WHERE m.due_at <= ?1 AND (m.due_at, m.incarnation) > (?3, ?4)
    ORDER BY m.due_at, m.incarnation LIMIT ?2
),
fired (due, incarnation) AS MATERIALIZED (
    SELECT t.fire_at, t.incarnation FROM timers AS t INDEXED BY timers_by_due
    WHERE t.fire_at <= ?1 AND (t.fire_at, t.incarnation) > (?5, ?6)
    ORDER BY t.fire_at, t.incarnation LIMIT ?2
)
SELECT json_array(
    json((SELECT json_array(due, incarnation) FROM told ORDER BY due, incarnation LIMIT 1 OFFSET ?2 - 1)),
    json((SELECT json_array(due, incarnation) FROM fired ORDER BY due, incarnation LIMIT 1 OFFSET ?2 - 1)),
    json((
        SELECT json_group_array(json_array(i.incarnation, i.id, i.name, i.version))
        FROM instances AS i
        WHERE i.incarnation IN (SELECT incarnation FROM told UNION ALL SELECT incarnation FROM fired)
        AND i.owner IS NULL AND i.status IN ('pending', 'running') AND NOT EXISTS (
            SELECT 1 FROM workers AS w CROSS JOIN abilities AS a ON a.worker = w.number
            WHERE a.kind = 'orchestration' AND a.name = i.name
            AND (i.version IS NULL OR a.version = i.version) AND a.reader >= i.min_reader
        )
    ))
);

-- name: unknown_tasks
-- Of the tasks that nobody owns, while no worker has their activity, those due since ?1 and behind the place ?4 to ?7, the first
-- ?3: the place of the last, if there are so many, and the instances of those that are not too late at ?2, as
-- [incarnation, id, activity], in order of the tasks. One that has a time to start in ends by that.
WITH RECURSIVE names (name) AS (
    SELECT min(t.name) FROM tasks AS t INDEXED BY tasks_by_name WHERE t.owner IS NULL AND t.permit IS NULL
    UNION ALL
    -- From one name to the next, so that a long line of one activity costs a single step.
    SELECT (
        SELECT min(t.name) FROM tasks AS t INDEXED BY tasks_by_name
        WHERE t.owner IS NULL AND t.permit IS NULL AND t.name > names.name
    )
    FROM names WHERE names.name IS NOT NULL
),
unknown (name, delayed) AS MATERIALIZED (
    SELECT n.name, d.value FROM names AS n CROSS JOIN json_each('[0, 1]') AS d
    WHERE (n.name, d.value) >= (?4, ?5) AND NOT EXISTS (
        SELECT 1 FROM workers AS w CROSS JOIN abilities AS a ON a.worker = w.number
        WHERE a.kind = 'activity' AND a.name = n.name
    )
),
seen (name, delayed, due, incarnation, event, start_by, deadline) AS MATERIALIZED (
    -- In order of the index, which is that of the names: nothing is sorted, and no more read than is wanted.
    SELECT t.name, t.delayed, t.due_at, t.incarnation, t.event, t.start_by, t.deadline
    FROM unknown AS u
    CROSS JOIN tasks AS t INDEXED BY tasks_by_name
        ON t.owner IS NULL AND t.permit IS NULL AND t.name = u.name AND t.delayed = u.delayed AND t.due_at <= ?1
        AND (t.due_at, t.incarnation) > (CASE WHEN (u.name, u.delayed) = (?4, ?5) THEN ?6 ELSE -1 END, ?7)
    LIMIT ?3
)
SELECT json_array(
    json((
        SELECT json_array(name, delayed, due, incarnation) FROM seen
        ORDER BY name, delayed, due, incarnation LIMIT 1 OFFSET ?3 - 1
    )),
    json((
        SELECT json_group_array(json_array(incarnation, id, name))
        FROM (
            SELECT s.incarnation, i.id, s.name
            FROM seen AS s CROSS JOIN instances AS i ON i.incarnation = s.incarnation
            WHERE s.start_by IS NULL AND (s.deadline IS NULL OR s.deadline > ?2) AND i.status IN ('pending', 'running')
            ORDER BY s.due, s.event
        )
    ))
);

-- name: known_names
-- What all workers have code for: the orchestrations as "name@version", and the activities.
SELECT json_array(
    json((SELECT json_group_array(DISTINCT name || '@' || version) FROM abilities WHERE kind = 'orchestration')),
    json((SELECT json_group_array(DISTINCT name) FROM abilities WHERE kind = 'activity'))
);

-- name: get_instance
-- One instance by id.
SELECT
    id, incarnation, name, version, status, execution, created_at, changed_at, last_event, owner,
    cancel_requested, custom_status_version, held_because, root,
    parent_id, parent_incarnation, parent_execution, parent_event,
    deliveries, min_reader, resets, attributes, custom_status, output, error
FROM instances WHERE id = ?1;

-- name: part_matching
-- What the instances i of a query have in common, beside their status and their parent; the members of ?5 must be among
-- their attributes and equal.
(?2 IS NULL OR i.name = ?2)
AND (?3 IS NULL OR i.version = ?3)
AND (?7 IS NULL OR i.created_at >= ?7)
AND (?8 IS NULL OR i.created_at < ?8)
AND (?9 IS NULL OR i.changed_at >= ?9)
AND (?10 IS NULL OR i.changed_at < ?10)
AND (?11 IS NULL OR i.root = ?11)
AND (?12 = 0 OR NOT EXISTS (SELECT 1 FROM instances AS p WHERE p.incarnation = i.parent_incarnation))
AND (?5 IS NULL OR i.attributes IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM json_each(?5) AS w WHERE NOT EXISTS (
        SELECT 1 FROM json_each(CAST(i.attributes AS TEXT)) AS a
        WHERE a.key = w.key AND a.value IS w.value
        AND (a.type IN ('true', 'false') OR w.type IN ('true', 'false')) <= (a.type = w.type)
    )
));

-- name: part_page
-- The same with one of the statuses ?4, the newest ?6 of them.
(?4 IS NULL OR i.status IN (SELECT value FROM json_each(?4)))
AND {{part_matching}}
ORDER BY i.incarnation DESC
LIMIT ?6;

-- name: find_instances
-- A page of instances before ?1, newest first, down to ?13, as incarnations.
SELECT json_group_array(incarnation)
FROM (
    SELECT i.incarnation
    FROM instances AS i
    WHERE i.incarnation < ?1 AND i.incarnation >= ?13
    AND {{part_page}}
);

-- name: find_by_status
-- The same of the status ?14, which is not completed.
SELECT json_group_array(incarnation)
FROM (
    SELECT i.incarnation
    FROM instances AS i
    WHERE i.incarnation < ?1 AND i.incarnation >= ?13
    AND i.status = ?14 AND i.status <> 'completed'
    AND {{part_page}}
);

-- name: find_by_name
-- The same of the orchestration ?14.
SELECT json_group_array(incarnation)
FROM (
    SELECT i.incarnation
    FROM instances AS i INDEXED BY instances_by_name
    WHERE i.name = ?14 AND i.incarnation < ?1 AND i.incarnation >= ?13
    AND {{part_page}}
);

-- name: count_attributes
-- Of some attributes, the members of ?1, as [key, count]: how many instances have each, up to ?2.
SELECT json_group_array(json_array(w.key, (
    SELECT count(*) FROM (
        SELECT 1 FROM attributes AS a WHERE a.key = w.key AND a.value = ifnull(w.value, '') LIMIT ?2
    )
)))
FROM json_each(?1) AS w;

-- name: count_name
-- How many instances of the orchestration ?1 there are, up to ?2.
SELECT count(*) FROM (SELECT 1 FROM instances AS i WHERE i.name = ?1 LIMIT ?2);

-- name: find_by_attributes
-- The same as `find_instances`, on the way along those that have the attribute ?14.
SELECT json_group_array(incarnation)
FROM (
    SELECT k.incarnation
    FROM attributes AS k CROSS JOIN instances AS i ON i.incarnation = k.incarnation
    WHERE k.key = ?14 AND k.value = (SELECT ifnull(w.value, '') FROM json_each(?5) AS w WHERE w.key = ?14)
    AND k.incarnation < ?1 AND k.incarnation >= ?13
    -- Found out before the row of the instance is read.
    AND NOT EXISTS (
        SELECT 1 FROM json_each(?5) AS w WHERE NOT EXISTS (
            SELECT 1 FROM attributes AS o
            WHERE o.key = w.key AND o.value = ifnull(w.value, '') AND o.incarnation = k.incarnation
        )
    )
    AND (?4 IS NULL OR i.status IN (SELECT value FROM json_each(?4)))
    AND {{part_matching}}
    ORDER BY k.incarnation DESC
    LIMIT ?6
);

-- name: find_strays
-- The same of those that were begun at another time than their incarnation says.
SELECT json_group_array(incarnation)
FROM (
    SELECT i.incarnation
    FROM instances AS i INDEXED BY instances_strayed
    WHERE i.incarnation < ?1 AND i.incarnation >= ?13
    AND abs(i.created_at / 1000 - 1577836800000 - (i.incarnation >> 22)) > 60000
    AND {{part_page}}
);

-- name: find_root
-- The same of the root ?14 itself.
SELECT json_group_array(incarnation)
FROM (
    SELECT i.incarnation
    FROM instances AS i
    WHERE i.id = ?14 AND i.incarnation < ?1 AND i.incarnation >= ?13
    AND {{part_page}}
);

-- name: find_below_root
-- The same of what was started under the root ?14.
SELECT json_group_array(incarnation)
FROM (
    SELECT i.incarnation
    FROM instances AS i INDEXED BY instances_by_root
    WHERE i.root = ?14 AND i.root <> i.id AND i.incarnation < ?1 AND i.incarnation >= ?13
    AND {{part_page}}
);

-- name: find_children
-- The same of the children of the incarnation ?14.
SELECT json_group_array(incarnation)
FROM (
    SELECT i.incarnation
    FROM instances AS i
    WHERE i.parent_incarnation = ?14 AND i.incarnation < ?1 AND i.incarnation >= ?13
    AND {{part_page}}
);

-- name: find_children_of
-- The same of the children of the incarnations ?14.
SELECT json_group_array(incarnation)
FROM (
    SELECT i.incarnation
    FROM instances AS i
    WHERE i.parent_incarnation IN (SELECT value FROM json_each(?14)) AND i.incarnation < ?1 AND i.incarnation >= ?13
    AND {{part_page}}
);

-- name: end_of_instances
-- Of instances before ?1, newest first, down to ?2, the one behind ?3 of them.
SELECT i.incarnation
FROM instances AS i
WHERE i.incarnation < ?1 AND i.incarnation >= ?2
ORDER BY i.incarnation DESC LIMIT 1 OFFSET ?3;

-- name: end_by_status
-- The same of the status ?4, which is not completed.
SELECT i.incarnation
FROM instances AS i
WHERE i.incarnation < ?1 AND i.incarnation >= ?2 AND i.status = ?4 AND i.status <> 'completed'
ORDER BY i.incarnation DESC LIMIT 1 OFFSET ?3;

-- name: end_by_name
-- The same of the orchestration ?4.
SELECT i.incarnation
FROM instances AS i INDEXED BY instances_by_name
WHERE i.incarnation < ?1 AND i.incarnation >= ?2 AND i.name = ?4
ORDER BY i.incarnation DESC LIMIT 1 OFFSET ?3;

-- name: end_by_attributes
-- The same of those that have the attribute ?4, whose value is a member of ?5.
SELECT k.incarnation
FROM attributes AS k
WHERE k.incarnation < ?1 AND k.incarnation >= ?2
AND k.key = ?4 AND k.value = (SELECT ifnull(w.value, '') FROM json_each(?5) AS w WHERE w.key = ?4)
ORDER BY k.incarnation DESC LIMIT 1 OFFSET ?3;

-- name: end_of_strays
-- The same of those that were begun at another time than their incarnation says.
SELECT i.incarnation
FROM instances AS i INDEXED BY instances_strayed
WHERE i.incarnation < ?1 AND i.incarnation >= ?2
AND abs(i.created_at / 1000 - 1577836800000 - (i.incarnation >> 22)) > 60000
ORDER BY i.incarnation DESC LIMIT 1 OFFSET ?3;

-- name: end_below_root
-- The same of what was started under the root ?4.
SELECT i.incarnation
FROM instances AS i INDEXED BY instances_by_root
WHERE i.incarnation < ?1 AND i.incarnation >= ?2 AND i.root = ?4 AND i.root <> i.id
ORDER BY i.incarnation DESC LIMIT 1 OFFSET ?3;

-- name: end_of_children
-- The same of the children of the incarnation ?4.
SELECT i.incarnation
FROM instances AS i
WHERE i.incarnation < ?1 AND i.incarnation >= ?2 AND i.parent_incarnation = ?4
ORDER BY i.incarnation DESC LIMIT 1 OFFSET ?3;

-- name: end_of_children_of
-- The same of the children of the incarnations ?4.
SELECT i.incarnation
FROM instances AS i
WHERE i.incarnation < ?1 AND i.incarnation >= ?2 AND i.parent_incarnation IN (SELECT value FROM json_each(?4))
ORDER BY i.incarnation DESC LIMIT 1 OFFSET ?3;

-- name: count_instances
-- How many instances match, as [name, status, count].
SELECT json_group_array(json_array(name, status, many))
FROM (
    SELECT i.name, i.status, count(*) AS many
    FROM instances AS i
    WHERE i.incarnation <= ?1
    AND (?4 IS NULL OR i.status IN (SELECT value FROM json_each(?4)))
    AND (?13 IS NULL OR i.parent_incarnation = (SELECT f.incarnation FROM instances AS f WHERE f.id = ?13))
    AND (?14 IS NULL OR i.parent_incarnation IN (SELECT value FROM json_each(?14)))
    AND {{part_matching}}
    GROUP BY i.name, i.status
    ORDER BY i.name, i.status
);

-- name: family
-- The instance and everything below it, at most ?2, as incarnations: those nearest to it first.
WITH RECURSIVE family (incarnation, depth) AS (
    SELECT incarnation, 0 FROM instances WHERE id = ?1
    UNION ALL
    SELECT c.incarnation, family.depth + 1
    FROM family CROSS JOIN instances AS c ON c.parent_incarnation = family.incarnation
)
SELECT json_group_array(incarnation)
FROM (SELECT incarnation FROM family ORDER BY depth, incarnation LIMIT ?2);

-- name: executions
-- What is stored of each execution of an instance: [execution, first at, last at, events, size].
SELECT json_group_array(json_array(execution, first_at, last_at, events, size))
FROM (
    SELECT
        execution, min(at) AS first_at, max(at) AS last_at, max(last_event) AS events, sum(length(data)) AS size
    FROM history WHERE incarnation = ?1 GROUP BY execution ORDER BY execution
);

-- name: held_tasks
-- The tasks that were set aside, of the instance ?2 or of all, at most ?1.
SELECT json_group_array(json_array(
    id, incarnation, execution, event, name, held_at, held_because, scheduled_at, attempt, deliveries, began_at
))
FROM (
    SELECT
        i.id, t.incarnation, t.execution, t.event, t.name, t.held_at, t.held_because, t.scheduled_at, t.attempt,
        t.deliveries, t.began_at
    FROM tasks AS t INDEXED BY tasks_held CROSS JOIN instances AS i ON i.incarnation = t.incarnation
    WHERE t.held_because IS NOT NULL AND (?2 IS NULL OR t.incarnation = ?2)
    ORDER BY t.held_at, t.incarnation, t.execution, t.event LIMIT ?1
);

-- name: open_tasks
-- The first ?2 activities of the instance ?1 that have not ended, in the order of the fields of an `OpenTask`.
SELECT event, name, attempt, scheduled_at, due_at, owner, tag, last_error, held_because, stopped
FROM (
    SELECT event, name, attempt, scheduled_at, due_at, owner, tag, last_error, held_because, stopped
    FROM tasks WHERE incarnation = ?1 AND permit IS NULL
    UNION ALL
    SELECT local_event, local_name, 1, local_at, local_at, owner, NULL, NULL, NULL, 0
    FROM instances WHERE incarnation = ?1 AND local_event IS NOT NULL
)
ORDER BY event LIMIT ?2;

-- name: depths
-- What waits at ?1: ready instances, since when, messages, timers, held instances, since when, parcels, since when.
SELECT json_array(
    count(DISTINCT incarnation), min(due),
    (SELECT count(*) FROM messages), (SELECT count(*) FROM timers),
    (SELECT count(*) FROM instances WHERE status = 'held' AND status <> 'completed'),
    (SELECT min(changed_at) FROM instances WHERE status = 'held' AND status <> 'completed'),
    (SELECT count(*) FROM outbox), (SELECT min(sent_at) FROM outbox)
)
FROM (
    SELECT m.incarnation, m.due_at AS due
    FROM messages AS m CROSS JOIN instances AS i ON i.incarnation = m.incarnation
    WHERE m.due_at <= ?1 AND i.owner IS NULL AND i.status IN ('pending', 'running')
    UNION ALL
    SELECT t.incarnation, t.fire_at
    FROM timers AS t CROSS JOIN instances AS i ON i.incarnation = t.incarnation
    WHERE t.fire_at <= ?1 AND i.owner IS NULL AND i.status IN ('pending', 'running')
);

-- name: task_depths
-- The tasks of each activity and tag at ?1: [name, tag, waiting, delayed, running, waiting since].
SELECT json_group_array(json_array(name, tag, waiting, delayed, running, since))
FROM (
    SELECT
        name, tag,
        sum(owner IS NULL AND due_at <= ?1) AS waiting,
        sum(owner IS NULL AND due_at > ?1) AS delayed,
        sum(owner IS NOT NULL) AS running,
        min(CASE WHEN owner IS NULL AND due_at <= ?1 THEN scheduled_at END) AS since
    FROM (
        SELECT name, tag, owner, due_at, scheduled_at FROM tasks WHERE permit IS NULL
        UNION ALL
        SELECT local_name, NULL, owner, local_at, local_at
        FROM instances
        WHERE local_event IS NOT NULL AND status <> 'completed' AND status IN ('pending', 'running', 'held', 'suspended')
    )
    GROUP BY name, tag ORDER BY name, tag
);

-- name: limits
-- The limits that some task has, at ?1: [key, concurrency, rate, per, running, waiting, waiting since].
SELECT json_group_array(json_array(key, concurrency, rate, per_us, running, waiting, since))
FROM (
    SELECT
        limit_key AS key,
        sum(owner IS NOT NULL AND late = 0) AS running,
        sum(owner IS NULL AND due_at <= ?1) AS waiting,
        min(CASE WHEN owner IS NULL AND due_at <= ?1 THEN scheduled_at END) AS since,
        concurrency, rate, per_us
    FROM (
        SELECT
            limit_key, owner, late, due_at, scheduled_at,
            first_value(concurrency) OVER declared AS concurrency,
            first_value(rate) OVER declared AS rate,
            first_value(per_us) OVER declared AS per_us
        FROM tasks WHERE limit_key IS NOT NULL
        WINDOW declared AS (
            PARTITION BY limit_key ORDER BY scheduled_at DESC, incarnation DESC, execution DESC, event DESC
        )
    )
    GROUP BY limit_key ORDER BY limit_key
);

-- name: limit_users
-- The first ?2 tasks of a limit key: [id, event, name, scheduled at, owner].
SELECT json_group_array(json_array(id, event, name, scheduled_at, owner))
FROM (
    SELECT i.id, t.event, t.name, t.scheduled_at, t.owner
    FROM tasks AS t INDEXED BY tasks_of_limits CROSS JOIN instances AS i ON i.incarnation = t.incarnation
    WHERE t.limit_key = ?1
    ORDER BY t.owner IS NULL, t.priority DESC, t.scheduled_at, t.incarnation, t.execution, t.event
    LIMIT ?2
);

-- name: history
-- The rows of one execution in order, as [first, last, at, crc, format, encoding, size], and their events.
SELECT
    json_group_array(json_array(first_event, last_event, at, crc, format, encoding, size)),
    CAST(group_concat(data, '') AS BLOB)
FROM (
    SELECT first_event, last_event, at, crc, format, encoding, length(data) AS size, data FROM history
    WHERE incarnation = ?1 AND execution = ?2 ORDER BY last_event
);

-- name: single_judge
-- Where an instance stands, for a turn that is alone in its batch: owner, execution, status, last event, local task.
SELECT owner, execution, status, last_event, local_event FROM instances WHERE incarnation = ?1;

-- name: single_judge_end
-- The same for a turn that ends its instance, and whether anything waits for it.
SELECT
    owner, execution, status, last_event, local_event,
    EXISTS (SELECT 1 FROM tasks AS t WHERE t.incarnation = i.incarnation)
    OR EXISTS (SELECT 1 FROM messages AS m WHERE m.incarnation = i.incarnation)
    OR EXISTS (SELECT 1 FROM timers AS t WHERE t.incarnation = i.incarnation)
FROM instances AS i WHERE i.incarnation = ?1;

-- name: single_create
-- A new instance that its first turn makes. Of a worker that is not there it would have no status, which is refused: as
-- INSERT ... SELECT, the row would go through a table of its own for the sake of the triggers.
INSERT INTO instances (
    incarnation, id, name, version, status, owner, created_at, changed_at, ready_at, root, slot,
    cancel_requested, custom_status_version, attributes, custom_status,
    last_event, local_event, local_at, local_name, local_retry, local_input
) VALUES (
    ?1, ?2, ?3, ?4, (SELECT 'running' FROM workers WHERE number = ?5), ?5, ?6, ?6, ?6, ?7, ?8, ?9, ?10, ?11, ?12,
    ?13, ?14, CASE WHEN ?14 IS NOT NULL THEN ?6 END, ?15, ?16, ?17
);

-- name: single_go_on
-- How far a turn has brought its instance, and its new local task; the old one has ended.
UPDATE instances SET
    changed_at = max(changed_at, ?2), deliveries = 1, last_event = ?3,
    local_event = ?4, local_at = CASE WHEN ?4 IS NOT NULL THEN ?2 END, local_name = ?5, local_retry = ?6, local_input = ?7
WHERE incarnation = ?1;

-- name: single_go_on_beside
-- The same, while the local task runs on.
UPDATE instances SET changed_at = max(changed_at, ?2), deliveries = 1, last_event = ?3 WHERE incarnation = ?1;

-- name: single_history
-- The events of one turn.
INSERT INTO history (
    incarnation, execution, first_event, last_event, at, format, crc, encoding, data
) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9);

-- name: single_task
-- A task that asks for nothing special.
INSERT OR REPLACE INTO tasks (incarnation, execution, event, owner, name, scheduled_at, due_at, input, retry)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?7, ?8);

-- name: single_task_gone
-- A task that has ended or is not wanted any more.
DELETE FROM tasks WHERE incarnation = ?1 AND execution = ?2 AND event = ?3;

-- name: single_timer
-- A timer.
INSERT OR REPLACE INTO timers (incarnation, execution, event, fire_at) VALUES (?1, ?2, ?3, ?4);

-- name: single_timer_gone
-- A timer that has fired or is not wanted any more.
DELETE FROM timers WHERE incarnation = ?1 AND execution = ?2 AND event = ?3;

-- name: single_consume
-- A message that the turn has taken in.
DELETE FROM messages WHERE seq = ?1 AND incarnation = ?2;

-- name: single_close
-- The end of an instance.
UPDATE instances SET
    changed_at = max(changed_at, ?2), deliveries = 1, held_because = NULL, status = ?3, owner = NULL,
    version = ifnull(?4, version),
    cancel_requested = cancel_requested OR ?5, output = ifnull(?6, output), error = ifnull(?7, error),
    custom_status = ifnull(?8, custom_status), custom_status_version = custom_status_version + ?9,
    last_event = ?10,
    local_event = NULL, local_at = NULL, local_name = NULL, local_retry = NULL, local_input = NULL
WHERE incarnation = ?1;

-- name: single_complete
-- The end of an instance that completes, if it runs, is the worker's, has come as far and has the local task that are
-- expected, and nothing else waits for it.
UPDATE instances SET
    changed_at = max(changed_at, ?2), deliveries = 1, held_because = NULL, status = 'completed', owner = NULL,
    output = ifnull(?4, output), last_event = ?3,
    local_event = NULL, local_at = NULL, local_name = NULL, local_retry = NULL, local_input = NULL
WHERE incarnation = ?1 AND status = 'running' AND owner = ?5 AND execution = ?6 AND last_event = ?7 AND local_event = ?8
AND NOT EXISTS (SELECT 1 FROM tasks AS t WHERE t.incarnation = ?1)
AND NOT EXISTS (SELECT 1 FROM messages AS m WHERE m.incarnation = ?1)
AND NOT EXISTS (SELECT 1 FROM timers AS t WHERE t.incarnation = ?1);

-- name: single_clear_tasks
-- Nothing waits for a closed instance: its tasks.
DELETE FROM tasks WHERE incarnation = ?1;

-- name: single_clear_timers
-- Its timers.
DELETE FROM timers WHERE incarnation = ?1;

-- name: single_clear_messages
-- Its messages.
DELETE FROM messages WHERE incarnation = ?1;

-- name: set_tasks_aside
-- Set aside the tasks of an instance that nobody runs, or with ?5 all of them.
UPDATE tasks SET
    owner = NULL, late = 0, held_at = ?2, held_because = ?3, due_at = ?4, delayed = 1, start_by = NULL, expires_at = deadline
WHERE incarnation = ?1 AND permit IS NULL AND held_because IS NULL AND (owner IS NULL OR ?5);

-- name: present
-- Of incarnations: how many messages and tasks each has, and whether a worker runs a task of it.
SELECT json_group_array(json_array(
    i.incarnation,
    (SELECT count(*) FROM messages AS m WHERE m.incarnation = i.incarnation),
    (SELECT count(*) FROM tasks AS t WHERE t.incarnation = i.incarnation) + (i.local_event IS NOT NULL),
    i.local_event IS NOT NULL
    OR EXISTS (SELECT 1 FROM tasks AS t WHERE t.incarnation = i.incarnation AND t.owner <> 0)
))
FROM jsonb_each(?1) AS j CROSS JOIN instances AS i ON i.incarnation = j.value;

-- name: move_out
-- Leave of instances no more than where they are, ?3.
UPDATE instances SET
    status = 'moved', owner = NULL, changed_at = max(changed_at, ?2), held_because = ?3,
    local_event = NULL, local_at = NULL, local_name = NULL, local_retry = NULL, local_input = NULL
WHERE incarnation IN (SELECT value FROM jsonb_each(?1));

-- name: put_instances
-- Instances as they are, without owner.
INSERT INTO instances (
    incarnation, id, name, version, status, execution, last_event, deliveries, created_at, changed_at, ready_at, root,
    parent_id, parent_incarnation, parent_execution, parent_event, slot, min_reader, resets, cancel_requested,
    custom_status_version, held_after, held_because, attributes, custom_status, error, output
)
SELECT
    column1, column2, column3, column4, column5, column6, column7, column8, column9, column10, column11, column12,
    column13, column14, column15, column16, column17, column18, column19, column20, column21,
    CASE WHEN column5 = 'held' THEN 0 END, column22, column23, column24, column25, column26
FROM (
    VALUES (
        ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24,
        ?25, ?26
    )
)
WHERE column1 IS NOT NULL;

-- name: put_messages
-- Messages as they are, in order.
INSERT INTO messages (incarnation, due_at, control, execution, body)
SELECT column1, column2, column3, column4, column5
FROM (VALUES (?1, ?2, ?3, ?4, ?5))
WHERE column1 IS NOT NULL;

-- name: put_tasks
-- Tasks as they are, without owner.
INSERT INTO tasks (
    incarnation, execution, event, name, scheduled_at, due_at, delayed, start_by, deadline, expires_at, attempt,
    deliveries, priority, tag, session, lane, limit_key, concurrency, rate, per_us, permit, owner, stopped,
    held_at, held_because, began_at, retry, input, last_error, details
)
SELECT
    column1, column2, column3, column4, column5, column6, column6 > ?1, column7, column8,
    min(ifnull(column7, column8), ifnull(column8, column7)), column9, column10, column11, column12, column13, column14,
    column15, column16, column17, column18, column19, column20, column21, column22, column23, column24, column25,
    column26, column27, column28
FROM (
    VALUES (
        ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25,
        ?26, ?27, ?28, ?29
    )
)
WHERE column1 IS NOT NULL;

-- name: put_kept_entries
-- Entries as they are.
INSERT INTO entries (incarnation, shelf, key, passing_since, value)
SELECT column1, column2, column3, column4, column5
FROM (VALUES (?1, ?2, ?3, ?4, ?5))
WHERE column1 IS NOT NULL;

-- name: image_tree
-- The incarnations of these ids and of everything below them, in order.
WITH RECURSIVE tree (incarnation) AS (
    SELECT i.incarnation FROM jsonb_each(?1) AS j CROSS JOIN instances AS i ON i.id = j.value
    UNION
    SELECT c.incarnation FROM tree CROSS JOIN instances AS c ON c.parent_incarnation = tree.incarnation
)
SELECT json_group_array(incarnation) FROM (SELECT incarnation FROM tree ORDER BY incarnation);

-- name: image_instances
-- What the records of instances do not say: [incarnation, ready at, execution, local task].
SELECT incarnation, ready_at, execution, local_event, local_at, local_name, local_retry, local_input
FROM instances WHERE incarnation IN (SELECT value FROM jsonb_each(?1));

-- name: image_history
-- The histories of instances, execution by execution.
SELECT incarnation, execution, first_event, last_event, at, data, crc, format, encoding
FROM history WHERE incarnation IN (SELECT value FROM jsonb_each(?1)) ORDER BY incarnation, execution, last_event;

-- name: image_messages
-- Their messages, in the order in which they are handed out.
SELECT incarnation, due_at, body, control, execution
FROM messages WHERE incarnation IN (SELECT value FROM jsonb_each(?1)) ORDER BY incarnation, due_at, seq;

-- name: image_timers
-- Their timers.
SELECT incarnation, execution, event, fire_at
FROM timers WHERE incarnation IN (SELECT value FROM jsonb_each(?1)) ORDER BY incarnation, execution, event;

-- name: image_tasks
-- Their tasks that have rows, in the order of the fields of a `TaskImage`.
SELECT
    incarnation, execution, event, name, input, scheduled_at, due_at, attempt, deliveries, retry, tag, session,
    priority, limit_key, concurrency, rate, per_us, permit, owner IS 0, start_by, deadline, last_error,
    details, stopped, held_at, held_because, began_at, owner IS NOT NULL AND owner <> 0
FROM tasks WHERE incarnation IN (SELECT value FROM jsonb_each(?1)) ORDER BY incarnation, execution, event;

-- name: image_entries
-- What they keep.
SELECT incarnation, shelf, key, value, passing_since
FROM entries WHERE incarnation IN (SELECT value FROM jsonb_each(?1)) ORDER BY incarnation, shelf, key;

-- name: image_keys
-- The keys of what clients have sent.
SELECT incarnation, dedup_key
FROM dedup_keys WHERE incarnation IN (SELECT value FROM jsonb_each(?1)) ORDER BY incarnation, dedup_key;
