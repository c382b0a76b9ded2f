-- Written behind the exchange: no foreign keys and no checks, for a row that arrives late or strange must still arrive.
-- Times are the exchange's wall clock at the moment itself; written_at is PostgreSQL's, when the row came.
CREATE TABLE calls (
    call         text PRIMARY KEY,
    state        text,
    caller       text,                  -- what the phone said
    identity     text,                  -- verified | unverified | unavailable
    account      text,
    name         text,
    silent       boolean,
    desk         text,
    sip_call_id  text,
    evidence     text,                  -- folder name
    started_at   timestamptz,
    answered_at  timestamptz,
    attached_at  timestamptz,
    ended_at     timestamptz,
    reason       text,
    more         jsonb NOT NULL DEFAULT '{}',
    written_at   timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX calls_started ON calls (started_at DESC);
CREATE INDEX calls_account ON calls (account, started_at DESC) WHERE account IS NOT NULL;

CREATE TABLE call_events (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,   -- order of arrival = order of happening
    stream      text NOT NULL,
    position    bigint NOT NULL,
    call        text,
    at          timestamptz,
    event       text,
    more        jsonb NOT NULL DEFAULT '{}',
    written_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (stream, position)
);
CREATE INDEX call_events_call ON call_events (call, id);

CREATE TABLE messages (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    stream        text NOT NULL,
    position      bigint NOT NULL,
    call          text,
    at            timestamptz,
    sender        text,
    receiver      text,
    content_type  text,
    text          text,
    more          jsonb NOT NULL DEFAULT '{}',
    written_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (stream, position)
);
CREATE INDEX messages_call ON messages (call, id);
