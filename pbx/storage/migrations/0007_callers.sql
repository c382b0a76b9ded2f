-- What a person needs to be understood; said by people, changed by people.
ALTER TABLE accounts
    ADD COLUMN language text,                                    -- BCP 47
    ADD COLUMN needs    text[] NOT NULL DEFAULT '{}' CHECK (needs <@ ARRAY['deaf', 'speech']);

-- Whose word a caller's number is: only such a number leads to the calls there were before.
ALTER TABLE calls ADD COLUMN trunk text;
CREATE INDEX calls_trunk_number ON calls (caller, started_at DESC) WHERE trunk IS NOT NULL;

-- What dispatchers thought of a call when it was over: advice, and no reason ever to refuse one.
CREATE TABLE caller_marks (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    realm        text NOT NULL,
    call         text NOT NULL,
    account      text,
    number       text,
    mark         text NOT NULL CHECK (mark IN ('hoax', 'nuisance')),
    note         text NOT NULL DEFAULT '',
    marked_by    text NOT NULL,
    withdrawn_at timestamptz,
    withdrawn_by text,
    CHECK ((account IS NULL) <> (number IS NULL)),
    CHECK ((withdrawn_at IS NULL) = (withdrawn_by IS NULL))
);
CREATE UNIQUE INDEX caller_marks_once ON caller_marks (realm, call, mark) WHERE withdrawn_at IS NULL;
CREATE INDEX caller_marks_account ON caller_marks (realm, account) WHERE withdrawn_at IS NULL;
CREATE INDEX caller_marks_number ON caller_marks (realm, number) WHERE withdrawn_at IS NULL;

-- A mark is never changed or removed, only withdrawn, once, and by somebody.
CREATE FUNCTION mark_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.withdrawn_at IS NULL
        AND (to_jsonb(OLD) - 'withdrawn_at' - 'withdrawn_by') = (to_jsonb(NEW) - 'withdrawn_at' - 'withdrawn_by') THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'a mark is only ever withdrawn';
END $$;
CREATE TRIGGER mark_row_stays BEFORE UPDATE OR DELETE ON caller_marks FOR EACH ROW EXECUTE FUNCTION mark_stays();
CREATE TRIGGER marks_stay BEFORE TRUNCATE ON caller_marks FOR EACH STATEMENT EXECUTE FUNCTION mark_stays();
