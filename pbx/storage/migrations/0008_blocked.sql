-- Who blocked an account, when and why: written by the database itself, also of a block made by hand in SQL.
-- What was blocked before this has neither; nobody knows it any more.
ALTER TABLE accounts
    ADD COLUMN blocked_by  text,
    ADD COLUMN blocked_at  timestamptz,
    ADD COLUMN blocked_why text;

CREATE FUNCTION state_block() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.enabled THEN
        NEW.blocked_by := NULL;
        NEW.blocked_at := NULL;
        NEW.blocked_why := NULL;
    ELSIF TG_OP = 'INSERT' OR OLD.enabled THEN
        NEW.blocked_by := coalesce(nullif(current_setting('at110.by', true), ''), 'sql:' || session_user);
        NEW.blocked_at := clock_timestamp();
    ELSIF (NEW.blocked_by, NEW.blocked_at, NEW.blocked_why) IS DISTINCT FROM (OLD.blocked_by, OLD.blocked_at, OLD.blocked_why) THEN
        RAISE EXCEPTION 'a block is ended and made anew, not changed';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER account_block_stated BEFORE INSERT OR UPDATE ON accounts FOR EACH ROW EXECUTE FUNCTION state_block();

CREATE FUNCTION note_block() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO identity_changes (realm, username, act, changed_by, facts) VALUES (NEW.realm, NEW.username,
        CASE WHEN NEW.enabled THEN 'unblocked' ELSE 'blocked' END,
        coalesce(nullif(current_setting('at110.by', true), ''), 'sql:' || session_user),
        jsonb_build_object('name', NEW.name, 'why', coalesce(NEW.blocked_why, '')));
    RETURN NULL;
END $$;
CREATE TRIGGER account_made_blocked AFTER INSERT ON accounts FOR EACH ROW WHEN (NOT NEW.enabled) EXECUTE FUNCTION note_block();
CREATE TRIGGER account_block_noted AFTER UPDATE ON accounts FOR EACH ROW WHEN (OLD.enabled <> NEW.enabled)
    EXECUTE FUNCTION note_block();
