UPDATE sign_in_policy SET second_factor = 'required' WHERE second_factor = 'passkeys_only';
ALTER TABLE sign_in_policy DROP CONSTRAINT sign_in_policy_second_factor_check;
ALTER TABLE sign_in_policy ADD CONSTRAINT sign_in_policy_second_factor_check
    CHECK (second_factor IN ('none', 'required'));
DROP TABLE passkeys;
