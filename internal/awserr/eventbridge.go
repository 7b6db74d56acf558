package awserr

// Codes of EventBridge.
const (
	// InternalException: error of the server.
	InternalException = "InternalException"
	// InvalidEventPattern: event pattern not valid.
	InvalidEventPattern = "InvalidEventPatternException"
	// ResourceNotFound: no such rule or event bus.
	ResourceNotFound = "ResourceNotFoundException"
)
