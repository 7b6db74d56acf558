# The tour with the AWS CLI.
#
# tour.sh tour NAME   goes through the life of a key, and leaves NAME.key (a data key, encrypted)
#                     and NAME.sealed (the file "plain", encrypted with the data key)
# tour.sh open NAME   opens them again
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
name=$2
context='{"部署":"経理","用途":"明細"}'

die() {
	echo "$*" >&2
	exit 1
}

# ask EXPRESSION OPERATION...: what a call answers.
ask() { aws kms "${@:2}" --output text --query "$1"; }

# fails CODE OPERATION...: a call that has to fail with that code.
fails() {
	local said
	said=$(aws kms "${@:2}" 2>&1) && die "${*:2} succeeded, not failed with $1"
	[[ $said == *"($1)"* ]] || die "${*:2} failed otherwise than with $1: $said"
}

open_envelope() {
	ask Plaintext decrypt --ciphertext-blob "fileb://$name.key" --encryption-context "$context" |
		python "$here/aesgcm.py" open "$name.sealed" "$name.opened"
	cmp plain "$name.opened"
}

tour() {
	local key arn data deletion
	read -r key arn < <(ask 'KeyMetadata.[KeyId,Arn]' create-key --description 給与計算の鍵 \
		--tags TagKey=部署,TagValue=経理部 TagKey=環境,TagValue=本番)
	[[ $(ask KeyMetadata.Description describe-key --key-id "$arn") == 給与計算の鍵 ]] || die "another description"
	[[ $(ask "Tags[?TagKey=='部署'].TagValue" list-resource-tags --key-id "$key") == 経理部 ]] || die "another tag"

	aws kms create-alias --alias-name "alias/tour-$name" --target-key-id "$key"
	[[ $(ask KeyMetadata.KeyId describe-key --key-id "alias/tour-$name") == "$key" ]] || die "another key"
	fails AlreadyExistsException create-alias --alias-name "alias/tour-$name" --target-key-id "$key"
	fails NotFoundException describe-key --key-id 00000000-0000-4000-8000-000000000000

	data=$(ask '[Plaintext,CiphertextBlob]' generate-data-key --key-id "alias/tour-$name" --key-spec AES_256 --encryption-context "$context")
	cut -f1 <<<"$data" | python "$here/aesgcm.py" seal plain "$name.sealed"
	cut -f2 <<<"$data" | base64 -d >"$name.key"
	unset data
	open_envelope

	fails InvalidCiphertextException decrypt --ciphertext-blob "fileb://$name.key"
	fails InvalidCiphertextException decrypt --ciphertext-blob "fileb://$name.key" --encryption-context '{"部署":"営業","用途":"明細"}'

	aws kms disable-key --key-id "$key"
	fails DisabledException encrypt --key-id "$key" --plaintext x
	aws kms enable-key --key-id "$key"
	ask CiphertextBlob encrypt --key-id "$key" --plaintext 秘密 | base64 -d >"$name.secret"
	[[ $(ask Plaintext decrypt --ciphertext-blob "fileb://$name.secret" | base64 -d) == 秘密 ]] || die "another secret"

	deletion=$(ask DeletionDate schedule-key-deletion --key-id "$key" --pending-window-in-days 7)
	[[ $(ask KeyMetadata.KeyState describe-key --key-id "$key") == PendingDeletion ]] || die "not pending deletion"
	python - "$deletion" <<-'PYTHON' || die "the key is deleted on $deletion"
		import sys, time, datetime
		when = sys.argv[1]
		at = float(when) if when.replace(".", "").isdigit() else datetime.datetime.fromisoformat(when).timestamp()
		sys.exit(abs(time.time() + 7 * 86400 - at) > 3600)
	PYTHON
	fails KMSInvalidStateException encrypt --key-id "$key" --plaintext x
	aws kms cancel-key-deletion --key-id "$key" >"$name.cancelled"
	[[ $(ask KeyMetadata.KeyState describe-key --key-id "$key") == Disabled ]] || die "not disabled"
	aws kms enable-key --key-id "$key"

	aws kms create-key >"$name.second"
	ask 'Keys[].KeyId' list-keys --page-size 1 | tr '\t' '\n' >"$name.listed"
	grep -q "$key" "$name.listed" || die "the key is not listed"
	[[ $(grep -c . "$name.listed") -ge 2 && -z $(sort "$name.listed" | uniq -d) ]] || die "the pages do not fit together"

	aws cloudtrail lookup-events --lookup-attributes "AttributeKey=ResourceName,AttributeValue=$arn" --page-size 3 \
		--output text --query 'Events[].[EventName,ReadOnly]' >"$name.events"
	[[ $(grep -c . "$name.events") -gt 15 && $(tail -n 1 "$name.events") == $'CreateKey\tfalse' ]] || die "the key's events are $(<"$name.events")"
	[[ $(grep DisableKey "$name.events") == $'DisableKey\tfalse' ]] || die "no DisableKey: $(<"$name.events")"

	fails NotFoundException describe-key --key-id "$key" --region eu-central-1
	[[ $(ask KeyMetadata.Arn create-key --region eu-central-1) == *:eu-central-1:* ]] || die "another Region"
}

case $1 in
tour) tour ;;
open) open_envelope ;;
esac
