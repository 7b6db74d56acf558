package awserr

// Codes of CloudTrail.
const (
	// InvalidLookupAttributes: more than one lookup attribute, or one that does not exist.
	InvalidLookupAttributes = "InvalidLookupAttributesException"
	// InvalidTimeRange: start time is after the end time.
	InvalidTimeRange = "InvalidTimeRangeException"
	// InvalidNextToken: pagination token not valid.
	InvalidNextToken = "InvalidNextTokenException"
	// InvalidEventCategory: no such category of events.
	InvalidEventCategory = "InvalidEventCategoryException"
)
