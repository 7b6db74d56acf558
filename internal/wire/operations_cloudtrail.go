package wire

import "github.com/aws/aws-sdk-go-v2/service/cloudtrail"

// cloudTrailOperations is what there is of the CloudTrail API, version 2013-11-01, in name
// order.
// https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_Operations.html
var cloudTrailOperations = []row{
	{"AddTags", (*cloudtrail.AddTagsInput)(nil), (*cloudtrail.AddTagsOutput)(nil), writes},
	{"CreateTrail", (*cloudtrail.CreateTrailInput)(nil), (*cloudtrail.CreateTrailOutput)(nil), writes},
	{"DeleteTrail", (*cloudtrail.DeleteTrailInput)(nil), (*cloudtrail.DeleteTrailOutput)(nil), writes},
	{"DescribeTrails", (*cloudtrail.DescribeTrailsInput)(nil), (*cloudtrail.DescribeTrailsOutput)(nil), reads},
	{"GetEventSelectors", (*cloudtrail.GetEventSelectorsInput)(nil), (*cloudtrail.GetEventSelectorsOutput)(nil), reads},
	{"GetTrail", (*cloudtrail.GetTrailInput)(nil), (*cloudtrail.GetTrailOutput)(nil), reads},
	{"GetTrailStatus", (*cloudtrail.GetTrailStatusInput)(nil), (*cloudtrail.GetTrailStatusOutput)(nil), reads},
	{"ListPublicKeys", (*cloudtrail.ListPublicKeysInput)(nil), (*cloudtrail.ListPublicKeysOutput)(nil), reads},
	{"ListTags", (*cloudtrail.ListTagsInput)(nil), (*cloudtrail.ListTagsOutput)(nil), reads},
	{"ListTrails", (*cloudtrail.ListTrailsInput)(nil), (*cloudtrail.ListTrailsOutput)(nil), reads},
	{"LookupEvents", (*cloudtrail.LookupEventsInput)(nil), (*cloudtrail.LookupEventsOutput)(nil), reads},
	{"PutEventSelectors", (*cloudtrail.PutEventSelectorsInput)(nil), (*cloudtrail.PutEventSelectorsOutput)(nil), writes},
	{"RemoveTags", (*cloudtrail.RemoveTagsInput)(nil), (*cloudtrail.RemoveTagsOutput)(nil), writes},
	{"StartLogging", (*cloudtrail.StartLoggingInput)(nil), (*cloudtrail.StartLoggingOutput)(nil), writes},
	{"StopLogging", (*cloudtrail.StopLoggingInput)(nil), (*cloudtrail.StopLoggingOutput)(nil), writes},
	{"UpdateTrail", (*cloudtrail.UpdateTrailInput)(nil), (*cloudtrail.UpdateTrailOutput)(nil), writes},
}
