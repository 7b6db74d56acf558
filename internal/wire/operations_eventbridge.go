package wire

import "github.com/aws/aws-sdk-go-v2/service/eventbridge"

// eventBridgeOperations is what there is of the EventBridge API, version 2015-10-07, in
// name order.
// https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_Operations.html
var eventBridgeOperations = []row{
	{"DeleteRule", (*eventbridge.DeleteRuleInput)(nil), (*eventbridge.DeleteRuleOutput)(nil), writes},
	{"DescribeRule", (*eventbridge.DescribeRuleInput)(nil), (*eventbridge.DescribeRuleOutput)(nil), reads},
	{"DisableRule", (*eventbridge.DisableRuleInput)(nil), (*eventbridge.DisableRuleOutput)(nil), writes},
	{"EnableRule", (*eventbridge.EnableRuleInput)(nil), (*eventbridge.EnableRuleOutput)(nil), writes},
	{"ListRuleNamesByTarget", (*eventbridge.ListRuleNamesByTargetInput)(nil), (*eventbridge.ListRuleNamesByTargetOutput)(nil), reads},
	{"ListRules", (*eventbridge.ListRulesInput)(nil), (*eventbridge.ListRulesOutput)(nil), reads},
	{"ListTagsForResource", (*eventbridge.ListTagsForResourceInput)(nil), (*eventbridge.ListTagsForResourceOutput)(nil), reads},
	{"ListTargetsByRule", (*eventbridge.ListTargetsByRuleInput)(nil), (*eventbridge.ListTargetsByRuleOutput)(nil), reads},
	{"PutEvents", (*eventbridge.PutEventsInput)(nil), (*eventbridge.PutEventsOutput)(nil), writes},
	{"PutRule", (*eventbridge.PutRuleInput)(nil), (*eventbridge.PutRuleOutput)(nil), writes},
	{"PutTargets", (*eventbridge.PutTargetsInput)(nil), (*eventbridge.PutTargetsOutput)(nil), writes},
	{"RemoveTargets", (*eventbridge.RemoveTargetsInput)(nil), (*eventbridge.RemoveTargetsOutput)(nil), writes},
	{"TagResource", (*eventbridge.TagResourceInput)(nil), (*eventbridge.TagResourceOutput)(nil), writes},
	{"TestEventPattern", (*eventbridge.TestEventPatternInput)(nil), (*eventbridge.TestEventPatternOutput)(nil), reads},
	{"UntagResource", (*eventbridge.UntagResourceInput)(nil), (*eventbridge.UntagResourceOutput)(nil), writes},
}
