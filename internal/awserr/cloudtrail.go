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
	// CloudTrailARNInvalid: ARN is not that of a trail.
	CloudTrailARNInvalid = "CloudTrailARNInvalidException"
	// InsufficientS3BucketPolicy: bucket cannot be reached.
	InsufficientS3BucketPolicy = "InsufficientS3BucketPolicyException"
	// InvalidEventSelectors: event selectors not valid.
	InvalidEventSelectors = "InvalidEventSelectorsException"
	// InvalidHomeRegion: trail is changed in its home Region only.
	InvalidHomeRegion = "InvalidHomeRegionException"
	// InvalidParameterCombination: parameters contradict each other.
	InvalidParameterCombination = "InvalidParameterCombinationException"
	// InvalidS3BucketName: name of a bucket not valid.
	InvalidS3BucketName = "InvalidS3BucketNameException"
	// InvalidS3Prefix: prefix not valid.
	InvalidS3Prefix = "InvalidS3PrefixException"
	// InvalidTagParameter: tag key not valid.
	InvalidTagParameter = "InvalidTagParameterException"
	// InvalidTrailName: name of a trail not valid.
	InvalidTrailName = "InvalidTrailNameException"
	// MaximumNumberOfTrailsExceeded: Region has the most trails that an account can have.
	MaximumNumberOfTrailsExceeded = "MaximumNumberOfTrailsExceededException"
	// NotOrganizationMasterAccount: for the organization's management account only.
	NotOrganizationMasterAccount = "NotOrganizationMasterAccountException"
	// S3BucketDoesNotExist: no such bucket.
	S3BucketDoesNotExist = "S3BucketDoesNotExistException"
	// TagsLimitExceeded: trail has the most tags that it can have.
	TagsLimitExceeded = "TagsLimitExceededException"
	// TrailAlreadyExists: account has a trail of that name in the Region.
	TrailAlreadyExists = "TrailAlreadyExistsException"
	// TrailNotFound: no such trail.
	TrailNotFound = "TrailNotFoundException"
)
