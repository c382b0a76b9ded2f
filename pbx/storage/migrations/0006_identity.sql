-- What was verified of the person an account belongs to, by whom and when. `document` is a keyed digest, never a number.
CREATE TABLE identity_proofs (
    realm       text NOT NULL,
    username    text NOT NULL,
    name        text NOT NULL,
    phone       text NOT NULL,
    document    text NOT NULL CHECK (document ~ '^[0-9a-f]{64}$'),
    kind        text NOT NULL,
    how         text NOT NULL,
    verified_by text NOT NULL,
    verified_at timestamptz NOT NULL,
    asked_by    text CHECK (asked_by <> verified_by),   -- of a change; two persons
    PRIMARY KEY (realm, username),
    FOREIGN KEY (realm, username) REFERENCES accounts (realm, username) ON DELETE CASCADE
);

-- A change of a verified identity, until a second person confirms it: at most one of an account.
CREATE TABLE identity_pending (
    realm       text NOT NULL,
    username    text NOT NULL,
    change      text NOT NULL,
    name        text NOT NULL,
    phone       text NOT NULL,
    document    text NOT NULL CHECK (document ~ '^[0-9a-f]{64}$'),
    kind        text NOT NULL,
    how         text NOT NULL,
    asked_by    text NOT NULL,
    asked_at    timestamptz NOT NULL,
    until       timestamptz NOT NULL,
    PRIMARY KEY (realm, username),
    FOREIGN KEY (realm, username) REFERENCES accounts (realm, username) ON DELETE CASCADE
);

-- Every act, also one made by hand in SQL: triggers write it, and nobody can change or remove it by a statement.
CREATE TABLE identity_changes (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    realm       text NOT NULL,
    username    text NOT NULL,
    act         text NOT NULL,  -- verified changed removed | asked confirmed withdrawn expired dropped | account
    changed_by  text NOT NULL,
    facts       jsonb NOT NULL
);

CREATE FUNCTION note_identity_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    who text := coalesce(nullif(current_setting('at110.by', true), ''), 'sql:' || session_user);
    what text := nullif(current_setting('at110.act', true), '');
BEGIN
    IF TG_TABLE_NAME = 'accounts' THEN
        INSERT INTO identity_changes (realm, username, act, changed_by, facts) VALUES (NEW.realm, NEW.username, 'account', who,
            jsonb_build_object('name', NEW.name, 'verified', NEW.verified, 'origin', NEW.origin));
        RETURN NULL;
    END IF;
    what := CASE
        WHEN TG_TABLE_NAME = 'identity_pending' AND TG_OP = 'DELETE' THEN coalesce(what, 'dropped')
        WHEN TG_TABLE_NAME = 'identity_pending' THEN 'asked'
        WHEN TG_OP = 'INSERT' THEN 'verified'
        WHEN TG_OP = 'UPDATE' THEN 'changed'
        ELSE 'removed'
    END;
    IF TG_OP = 'DELETE' THEN
        INSERT INTO identity_changes (realm, username, act, changed_by, facts)
        VALUES (OLD.realm, OLD.username, what, who, to_jsonb(OLD) - 'realm' - 'username');
    ELSE
        INSERT INTO identity_changes (realm, username, act, changed_by, facts)
        VALUES (NEW.realm, NEW.username, what, who, to_jsonb(NEW) - 'realm' - 'username');
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER identity_proof_noted AFTER INSERT OR UPDATE OR DELETE ON identity_proofs
    FOR EACH ROW EXECUTE FUNCTION note_identity_change();
CREATE TRIGGER identity_pending_noted AFTER INSERT OR UPDATE OR DELETE ON identity_pending
    FOR EACH ROW EXECUTE FUNCTION note_identity_change();
CREATE TRIGGER account_verified_noted AFTER INSERT ON accounts
    FOR EACH ROW WHEN (NEW.verified) EXECUTE FUNCTION note_identity_change();
CREATE TRIGGER account_identity_noted AFTER UPDATE ON accounts FOR EACH ROW
    WHEN ((OLD.verified, OLD.name) IS DISTINCT FROM (NEW.verified, NEW.name)) EXECUTE FUNCTION note_identity_change();

-- What is verified changes only by a change that is open and that somebody else asked for.
CREATE FUNCTION two_persons() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (TG_OP = 'UPDATE' OR (SELECT verified FROM accounts a WHERE a.realm = NEW.realm AND a.username = NEW.username))
        AND NOT EXISTS (
            SELECT 1 FROM identity_pending p
            WHERE (p.realm, p.username, p.name, p.phone, p.document, p.kind, p.how, p.asked_by)
                = (NEW.realm, NEW.username, NEW.name, NEW.phone, NEW.document, NEW.kind, NEW.how, NEW.asked_by)
            AND p.asked_by <> NEW.verified_by AND p.until > clock_timestamp())
    THEN
        RAISE EXCEPTION 'a verified identity is changed by two persons';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER identity_two_persons BEFORE INSERT OR UPDATE ON identity_proofs
    FOR EACH ROW EXECUTE FUNCTION two_persons();

CREATE FUNCTION refuse_identity_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'identity_changes is only ever added to';
END $$;
CREATE TRIGGER identity_changes_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON identity_changes
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_identity_change();
