package wire

import (
	"cmp"
	"strings"

	"github.com/kagimori/kagimori/internal/awserr"
)

// Service is one API: its operations and the protocol that it is spoken in.
type Service struct {
	// Name is the signing name: kms. It is empty for the two services that answer
	// requests which name none.
	Name string
	// Title is the name for people: AWS KMS.
	Title string
	// Global tells that the service is the same in all Regions. Its records are
	// those of us-east-1.
	Global bool
	// Operations is the table of operations, in name order. All tables but that of
	// KMS lack some of AWS's, which Lookup knows to be unsupported.
	Operations []*Operation

	sdk       string // the SDK's package, if it is not called Name
	docs      string // folder of AWS's documentation
	target    string // JSON: what X-Amz-Target begins with, TrentService.
	version   string // Query: 2010-05-08
	namespace string // of the XML of answers
	query     bool   // protocol: Query, else JSON

	// What the service calls the errors that are made for all services alike.
	own map[string]string
	// Reasons go into error answers; the member with the message is in upper case.
	reasons bool

	byName map[string]*Operation // with those that are unsupported
}

// The services.
var (
	// KMS is the Key Management Service, version 2014-11-01, with all operations.
	KMS = &Service{Name: "kms", Title: "AWS KMS", docs: "kms", target: "TrentService."}
	// IAM is Identity and Access Management.
	IAM = &Service{Name: "iam", Title: "AWS IAM", docs: "IAM", Global: true, query: true, version: "2010-05-08",
		namespace: "https://iam.amazonaws.com/doc/2010-05-08/", own: map[string]string{awserr.KMSInternal: awserr.ServiceFailure}}
	// STS is the Security Token Service. Its Regions have the same data, but records of
	// their own.
	STS = &Service{Name: "sts", Title: "AWS STS", docs: "STS", query: true, version: "2011-06-15",
		namespace: "https://sts.amazonaws.com/doc/2011-06-15/", own: IAM.own}
	// Organizations is version 2016-11-28.
	Organizations = &Service{Name: "organizations", Title: "AWS Organizations", docs: "organizations", Global: true, target: "AWSOrganizationsV20161128.",
		reasons: true, own: map[string]string{
			awserr.KMSInternal: awserr.Service,
			awserr.Throttling:  awserr.TooManyRequests,
			awserr.Validation:  awserr.InvalidInput,
		}}

	// CloudTrail is version 2013-11-01, as far as it is about trails and looking up events.
	CloudTrail = &Service{Name: "cloudtrail", Title: "AWS CloudTrail", docs: "awscloudtrail", target: "CloudTrail_20131101."}
	// EventBridge is version 2015-10-07, as far as it is about rules, targets and events.
	EventBridge = &Service{Name: "events", Title: "Amazon EventBridge", sdk: "eventbridge", docs: "eventbridge", target: "AWSEvents.",
		own: map[string]string{awserr.KMSInternal: awserr.InternalException}}

	// Services are all of them.
	Services = []*Service{KMS, IAM, STS, Organizations, CloudTrail, EventBridge}
)

// These answer requests that name no service, in either protocol.
var (
	UnknownJSON  = &Service{}
	UnknownQuery = &Service{query: true, namespace: faults}
)

// faults is the namespace of AWS's errors that are no service's.
const faults = "http://webservices.amazon.com/AWSFault/2005-15-09"

// byTarget has the operations by the X-Amz-Target that names them.
var byTarget = map[string]*Operation{}

func init() {
	for s, rows := range map[*Service][]row{KMS: kmsOperations, IAM: iamOperations, STS: stsOperations, Organizations: organizationsOperations, CloudTrail: cloudTrailOperations, EventBridge: eventBridgeOperations} {
		s.Operations = newOperations(s, rows)
		s.byName = map[string]*Operation{}
		for _, op := range s.Operations {
			s.byName[op.Name] = op
		}
		for name := range s.model().Operations {
			if s.byName[name] == nil {
				s.byName[name] = unsupported(s, name)
			}
		}
		if !s.query {
			for name, op := range s.byName {
				byTarget[s.target+name] = op
			}
		}
	}
}

func (s *Service) model() *model { return models[cmp.Or(s.sdk, s.Name)] }

// ServiceNamed is the service with that signing name, nil if there is none.
func ServiceNamed(name string) *Service {
	for _, s := range Services {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// cloudTrailNamespace is what some SDKs, botocore for one, have before the target.
const cloudTrailNamespace = "com.amazonaws.cloudtrail.v20131101."

// Lookup finds the operation that an X-Amz-Target header names, such as
// "TrentService.Encrypt". An error, with the service to answer it all the same,
// is UnknownOperationException, or UnsupportedOperationException with an operation
// that only has its name.
func Lookup(target string) (*Service, *Operation, error) {
	target = strings.TrimPrefix(target, cloudTrailNamespace)
	if op := byTarget[target]; op != nil {
		return op.found()
	}
	if target == "" {
		return UnknownJSON, nil, awserr.New(awserr.UnknownOperation,
			"The X-Amz-Target header is missing. It names the operation: TrentService.Encrypt, for example.")
	}
	err := awserr.New(awserr.UnknownOperation, "Unknown operation: %s.", truncate(target))
	for _, s := range Services {
		if !s.query && strings.HasPrefix(target, s.target) {
			return s, nil, err
		}
	}
	return UnknownJSON, nil, err
}

// LookupAction is Lookup for a Query request, whose parameters Action and Version
// name the operation. Without a Version the Action alone does.
func LookupAction(f *Form) (*Service, *Operation, error) {
	action, version := f.Get("Action"), f.Get("Version")
	service := UnknownQuery
	for _, s := range Services {
		if !s.query || version != "" && version != s.version {
			continue
		}
		if op := s.byName[action]; op != nil {
			return op.found()
		}
		if version != "" {
			service = s
		}
	}
	if action == "" {
		return service, nil, awserr.New(awserr.MissingAction, "The request must contain the parameter Action.")
	}
	if version == "" {
		version = "NO_VERSION_SPECIFIED"
	}
	return service, nil, awserr.New(awserr.UnknownOperation, "Could not find operation %s for version %s", truncate(action), truncate(version))
}

func (o *Operation) found() (*Service, *Operation, error) {
	if o.input == nil {
		return o.Service, o, o.Unsupported()
	}
	return o.Service, o, nil
}

// ContentType is that of the answers, as an HTTP header has it. It is not to be
// changed.
func (s *Service) ContentType() []string {
	if s.query {
		return xmlType
	}
	return jsonType
}

var (
	xmlType  = []string{"text/xml"}
	jsonType = []string{"application/x-amz-json-1.1"}
)

// Own is e as the service calls it: an internal error of Organizations is a
// ServiceException. Its name in the Query protocol is another matter, which only
// AppendError knows.
func (s *Service) Own(e *awserr.Error) *awserr.Error {
	code, ok := s.own[e.Code]
	if !ok {
		return e
	}
	own := awserr.New(code, "%s", e.Message).With(e.Reason)
	own.Cause = e.Cause
	if code == awserr.InvalidInput && e.Reason == invalidPattern {
		own.Message = "You provided a value that does not match the required pattern."
	}
	return own
}

// AppendOutput appends the body of the operation's answer.
func (o *Operation) AppendOutput(dst []byte, out any, requestID string) []byte {
	if o.Service.query {
		return appendXML(dst, o, out, requestID)
	}
	return AppendOutput(dst, out)
}

// AppendError appends the body of an error answer and tells its HTTP status.
func (s *Service) AppendError(dst []byte, e *awserr.Error, requestID string) (body []byte, status int) {
	e = s.Own(e)
	if s.query {
		return appendXMLError(dst, s.namespace, e, requestID)
	}
	return appendJSONError(dst, e, s.reasons), e.Status
}
