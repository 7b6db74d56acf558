package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	cloudtrailtypes "github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/kagimori/kagimori/internal/cli"
	"github.com/kagimori/kagimori/internal/events"
)

// alarm is a ready-made rule of EventBridge.
type alarm struct {
	name, summary string
	pattern       string
	state         types.RuleState
}

const (
	alarmPrefix = "kagimori-" // of the names of their rules
	callType    = `"source":["aws.kms"],"detail-type":["AWS API Call via CloudTrail"],`
)

// done is the pattern of a call that succeeded.
func done(operation string) string {
	return `{` + callType + `"detail":{"eventName":["` + operation + `"],"errorCode":[{"exists":false}]}}`
}

var alarms = []alarm{
	{"pending-deletion-used", "use of a key that is to be deleted", `{` + callType + `"detail":{"errorCode":["KMSInvalidStateException"],"errorMessage":[{"suffix":" is pending deletion."}]}}`, types.RuleStateEnabledWithAllCloudtrailManagementEvents},
	{"policy-changed", "PutKeyPolicy", done("PutKeyPolicy"), types.RuleStateEnabled},
	{"deletion-scheduled", "ScheduleKeyDeletion", done("ScheduleKeyDeletion"), types.RuleStateEnabled},
	{"alias-deleted", "DeleteAlias", done("DeleteAlias"), types.RuleStateEnabled},
	{"key-disabled", "DisableKey", done("DisableKey"), types.RuleStateEnabled},
	{"material-deleted", "DeleteImportedKeyMaterial", done("DeleteImportedKeyMaterial"), types.RuleStateEnabled},
	{"material-expiring", "imported key material expires within 30, 7 or 1 days, or has expired", `{"source":["aws.kms"],"detail-type":["KMS Imported Key Material Expiring","KMS Imported Key Material Expiration"]}`, types.RuleStateEnabled},
	{"denials", "10, 100, … denials of a principal within a minute", `{"source":["kagimori"],"detail-type":["KMS Denial Burst"]}`, types.RuleStateEnabled},
	{"new-principal", "a Decrypt by a principal that never used the key so before", `{"source":["kagimori"],"detail-type":["KMS Key Used By New Principal"],"detail":{"event-name":["Decrypt"]}}`, types.RuleStateEnabled},
}

// responderRole is the role of responses, if none is given.
const responderRole = "KagimoriResponder"

const (
	responderTrust = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"` + events.Principal + `"},"Action":"sts:AssumeRole"}]}`
	responderMay   = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["kms:DisableKey","kms:ListGrants","kms:RevokeGrant","iam:PutRolePolicy","iam:PutUserPolicy"],"Resource":"*"}]}`
)

func alarmsCommand() *cli.Command {
	var names []string
	for _, a := range alarms {
		names = append(names, fmt.Sprintf("  %-22s %s", a.name, a.summary))
	}
	const from = "It asks the server that AWS_ENDPOINT_URL names, with your AWS credentials and Region."
	list := "The alarms are\n" + strings.Join(names, "\n")
	var targets, respond, role, regions string
	inRegions := func(fs *flag.FlagSet) {
		fs.StringVar(&regions, "regions", "", "`REGIONS`, with commas between; else that of the environment")
	}
	return &cli.Command{
		Name: "alarms", Summary: "Have something done when something happens to keys",
		Commands: []*cli.Command{
			{
				Name: "list", Summary: "Show the ready-made alarms, and whether they are enabled", Doc: from,
				Flags: inRegions,
				Run: func(ctx context.Context, env *cli.Env, _ []string) error {
					return eachRegion(ctx, env, split(regions), func(cfg aws.Config) error { return listAlarms(ctx, env, cfg) })
				},
			},
			{
				Name: "enable", Args: "NAME...", Summary: "Make rules of EventBridge for ready-made alarms",
				Doc: from + " NAME is an alarm, or all. An alarm that is enabled gets the targets that are given now.\n\n" + list + "\n\n" +
					"Responses act at once, as a role: disable-key disables the keys in the event, revoke-grants revokes all\n" +
					"their grants, revoke-grant the grant that was made, quarantine-principal denies everything to the user or\n" +
					"role that called. Without --role the role is " + responderRole + ", which is made if it is not there.",
				Flags: func(fs *flag.FlagSet) {
					fs.StringVar(&targets, "to", "", "`TARGETS` that are told, with commas between: webhook/NAME, command/NAME or an ARN")
					fs.StringVar(&respond, "respond", "", "`RESPONSES`, with commas between: disable-key, revoke-grant, revoke-grants, quarantine-principal")
					fs.StringVar(&role, "role", "", "`ARN` of the role that responses act as")
					inRegions(fs)
				},
				Run: func(ctx context.Context, env *cli.Env, args []string) error {
					return enableAlarms(ctx, env, args, split(regions), split(targets), split(respond), role)
				},
			},
			{
				Name: "disable", Args: "NAME...", Summary: "Remove the rules of alarms", Doc: from + " NAME is an alarm, or all.",
				Flags: inRegions,
				Run: func(ctx context.Context, env *cli.Env, args []string) error {
					list, err := namedAlarms(args)
					if err != nil {
						return err
					}
					return eachRegion(ctx, env, split(regions), func(cfg aws.Config) error { return disableAlarms(ctx, env, cfg, list) })
				},
			},
			{
				Name: "failed", Summary: "List the events that could not be delivered", Doc: from + " They are kept: put the target again, and they are tried again.",
				Flags: inRegions,
				Run: func(ctx context.Context, env *cli.Env, _ []string) error {
					return eachRegion(ctx, env, split(regions), func(cfg aws.Config) error { return failedEvents(ctx, env, cfg) })
				},
			},
		},
	}
}

// namedAlarms are the alarms that arguments mean.
func namedAlarms(args []string) (list []alarm, err error) {
	for _, name := range args {
		if name == "all" {
			return alarms, nil
		}
		i := slices.IndexFunc(alarms, func(a alarm) bool { return a.name == name })
		if i < 0 {
			return nil, cli.Usagef("there is no alarm %q; kagimori alarms list shows those that there are", name)
		}
		list = append(list, alarms[i])
	}
	return list, nil
}

// eachRegion calls fn with the settings for each of the Regions; for none of them with those
// of the environment.
func eachRegion(ctx context.Context, env *cli.Env, regions []string, fn func(aws.Config) error) error {
	if len(regions) == 0 {
		regions = []string{""}
	}
	for _, region := range regions {
		cfg, err := clientConfig(ctx, env, region)
		if err == nil {
			err = fn(cfg)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func enableAlarms(ctx context.Context, env *cli.Env, args, regions, to, respond []string, role string) error {
	list, err := namedAlarms(args)
	if err != nil {
		return err
	}
	if len(to)+len(respond) == 0 {
		return cli.Usagef("say what is to be done: --to webhook/NAME, --to command/NAME or --respond disable-key")
	}
	if len(respond) > 0 && role == "" {
		cfg, err := clientConfig(ctx, env, "")
		if err != nil {
			return err
		}
		if role, err = responder(ctx, env, iam.NewFromConfig(cfg)); err != nil {
			return err
		}
	}
	var targets []types.Target
	add := func(arn string, role *string) {
		targets = append(targets, types.Target{Id: aws.String(events.TargetID(arn)), Arn: &arn, RoleArn: role})
	}
	for _, t := range to {
		if kind, name, ok := strings.Cut(t, "/"); ok && !strings.HasPrefix(t, "arn:") {
			t = events.TargetARN(kind, name)
		}
		add(t, nil)
	}
	for _, r := range respond {
		add(events.TargetARN("response", r), &role)
	}
	return eachRegion(ctx, env, regions, func(cfg aws.Config) error { return putAlarms(ctx, env, cfg, list, targets) })
}

func putAlarms(ctx context.Context, env *cli.Env, cfg aws.Config, list []alarm, targets []types.Target) error {
	c := eventbridge.NewFromConfig(cfg)
	for _, a := range list {
		name := alarmPrefix + a.name
		_, err := c.PutRule(ctx, &eventbridge.PutRuleInput{Name: &name, EventPattern: &a.pattern, State: a.state, Description: aws.String("Kagimori alarm: " + a.summary)})
		if err == nil {
			_, err = c.PutTargets(ctx, &eventbridge.PutTargetsInput{Rule: &name, Targets: targets})
		}
		if err != nil {
			return fmt.Errorf("alarm %s: %w", a.name, spoken(err))
		}
		fmt.Fprintf(env.Stdout, "%s is enabled in %s\n", a.name, cfg.Region)
	}
	return nil
}

// responder is the role that responses act as; it is made if it is not there.
func responder(ctx context.Context, env *cli.Env, c *iam.Client) (arn string, err error) {
	got, err := c.GetRole(ctx, &iam.GetRoleInput{RoleName: aws.String(responderRole)})
	if err == nil {
		return *got.Role.Arn, nil
	}
	if code, _, ok := answered(err); !ok || code != "NoSuchEntity" {
		return "", fmt.Errorf("role %s: %w", responderRole, spoken(err))
	}
	made, err := c.CreateRole(ctx, &iam.CreateRoleInput{RoleName: aws.String(responderRole), AssumeRolePolicyDocument: aws.String(responderTrust),
		Description: aws.String("What responses of Kagimori's alarms act as")})
	if err == nil {
		_, err = c.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: aws.String(responderRole), PolicyName: aws.String("responses"), PolicyDocument: aws.String(responderMay)})
	}
	if err != nil {
		return "", fmt.Errorf("role %s cannot be made: %w", responderRole, spoken(err))
	}
	fmt.Fprintf(env.Stdout, "Made the role %s\n", *made.Role.Arn)
	return *made.Role.Arn, nil
}

// spoken is an error of a server as it says it.
func spoken(err error) error {
	if code, message, ok := answered(err); ok {
		return fmt.Errorf("%s: %s", code, message)
	}
	return err
}

func disableAlarms(ctx context.Context, env *cli.Env, cfg aws.Config, list []alarm) error {
	c := eventbridge.NewFromConfig(cfg)
	for _, a := range list {
		name := alarmPrefix + a.name
		targets, err := c.ListTargetsByRule(ctx, &eventbridge.ListTargetsByRuleInput{Rule: &name})
		if code, _, _ := answered(err); code == "ResourceNotFoundException" {
			continue
		}
		var ids []string
		if err == nil {
			for _, t := range targets.Targets {
				ids = append(ids, *t.Id)
			}
			if len(ids) > 0 {
				_, err = c.RemoveTargets(ctx, &eventbridge.RemoveTargetsInput{Rule: &name, Ids: ids})
			}
		}
		if err == nil {
			_, err = c.DeleteRule(ctx, &eventbridge.DeleteRuleInput{Name: &name})
		}
		if err != nil {
			return fmt.Errorf("alarm %s: %w", a.name, spoken(err))
		}
		fmt.Fprintf(env.Stdout, "%s is disabled in %s\n", a.name, cfg.Region)
	}
	return nil
}

func listAlarms(ctx context.Context, env *cli.Env, cfg aws.Config) error {
	c := eventbridge.NewFromConfig(cfg)
	w := tabwriter.NewWriter(env.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "ALARM\tWHEN\tIN %s\n", strings.ToUpper(cfg.Region))
	for _, a := range alarms {
		state := "-"
		targets, err := c.ListTargetsByRule(ctx, &eventbridge.ListTargetsByRuleInput{Rule: aws.String(alarmPrefix + a.name)})
		if code, _, _ := answered(err); err != nil && code != "ResourceNotFoundException" {
			return spoken(err)
		} else if err == nil {
			var ids []string
			for _, t := range targets.Targets {
				ids = append(ids, *t.Id)
			}
			state = cmp.Or(strings.Join(ids, ", "), "no targets")
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", a.name, a.summary, state)
	}
	return w.Flush()
}

// failedEvents lists the records of events that could not be delivered, newest first.
func failedEvents(ctx context.Context, env *cli.Env, cfg aws.Config) error {
	pages := cloudtrail.NewLookupEventsPaginator(cloudtrail.NewFromConfig(cfg), &cloudtrail.LookupEventsInput{LookupAttributes: []cloudtrailtypes.LookupAttribute{
		{AttributeKey: cloudtrailtypes.LookupAttributeKeyEventName, AttributeValue: aws.String(events.FailedDelivery)}}})
	w := tabwriter.NewWriter(env.Stdout, 0, 0, 2, ' ', 0)
	n := 0
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return spoken(err)
		}
		for _, e := range page.Events {
			var rec struct {
				EventTime           string
				ServiceEventDetails map[string]string
			}
			if err := json.Unmarshal([]byte(*e.CloudTrailEvent), &rec); err != nil {
				return errors.Join(fmt.Errorf("event %s", *e.EventId), err)
			}
			d := rec.ServiceEventDetails
			if n++; n == 1 {
				fmt.Fprintln(w, "TIME\tRULE\tTARGET\tEVENT\tREASON")
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", rec.EventTime, d["rule"], d["targetId"], cmp.Or(d["eventId"], d["events"]+" events"), d["reason"])
		}
	}
	if n == 0 {
		fmt.Fprintf(w, "All events in %s were delivered.\n", cfg.Region)
	}
	return w.Flush()
}
