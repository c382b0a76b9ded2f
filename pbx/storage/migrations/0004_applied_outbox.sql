-- How far each outbox was written; moved in the transaction that writes its rows.
CREATE TABLE applied_outbox (
    stream      text PRIMARY KEY,
    position    bigint NOT NULL,
    written_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
