CREATE TABLE desks (
    desk        text PRIMARY KEY,
    account     text,
    state       text,
    call        text,
    since       timestamptz,
    more        jsonb NOT NULL DEFAULT '{}',
    written_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE registrations (
    aor         text NOT NULL,
    contact     text NOT NULL,
    account     text,
    source      text,
    user_agent  text,
    at          timestamptz,
    expires_at  timestamptz,            -- in the past: the phone has gone
    more        jsonb NOT NULL DEFAULT '{}',
    written_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (aor, contact)
);
