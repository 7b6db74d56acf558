package wire

import "github.com/aws/aws-sdk-go-v2/service/cloudtrail"

// cloudTrailOperations is what there is of the CloudTrail API, version 2013-11-01, in name
// order.
// https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_Operations.html
var cloudTrailOperations = []row{
	{"LookupEvents", (*cloudtrail.LookupEventsInput)(nil), (*cloudtrail.LookupEventsOutput)(nil), reads},
}
