package wire

import (
	_ "embed"
	"encoding/json"
	"path"
	"reflect"
	"strings"
)

// These hold the constraints of AWS's service models. They are generated; see
// modelgen for how and from what.
//
//go:generate go run ./modelgen $KMS_FACTS/validation.json kms.json
//go:generate go run ./modelgen $BOTOCORE/iam/2010-05-08/service-2.json iam.json
//go:generate go run ./modelgen $BOTOCORE/sts/2011-06-15/service-2.json sts.json
//go:generate go run ./modelgen $BOTOCORE/organizations/2016-11-28/service-2.json organizations.json
//go:generate go run ./modelgen $BOTOCORE/cloudtrail/2013-11-01/service-2.json cloudtrail.json
//go:generate go run ./modelgen $BOTOCORE/events/2015-10-07/service-2.json eventbridge.json
var (
	//go:embed kms.json
	kmsModel []byte
	//go:embed iam.json
	iamModel []byte
	//go:embed sts.json
	stsModel []byte
	//go:embed organizations.json
	organizationsModel []byte
	//go:embed cloudtrail.json
	cloudTrailModel []byte
	//go:embed eventbridge.json
	eventBridgeModel []byte
)

// model is the content of kms.json and its like.
type model struct {
	Operations map[string]struct {
		Input  string // name of a shape; empty if the request has no members
		NoBody bool   // the answer has an empty body, or no result
	}
	Sensitive []string          // members that AWS marks as sensitive: MEMBER or STRUCTURE.MEMBER
	Names     map[string]string // STRUCTURE.MEMBER of the SDK to its name on the wire, where they differ
	Shapes    map[string]constraint

	sensitive map[string]bool
}

// constraint is what a model asks of the values of a shape.
type constraint struct {
	Range    *[2]int64
	Pattern  string
	Enum     []string
	Item     string            // shape of a list's items, or a map's values
	Key      string            // shape of a map's keys
	Members  map[string]string // member name to shape
	Required []string          // member names
}

// newer has the members that the SDK has and the models do not yet, with the range
// that the SDK documents.
var newer = map[string][2]int64{"MinimumSessionTokenSize": {0, 4096}}

// models are by the name of the SDK's package.
var models = map[string]*model{
	"kms":           newModel(kmsModel),
	"iam":           newModel(iamModel),
	"sts":           newModel(stsModel),
	"organizations": newModel(organizationsModel),
	"cloudtrail":    newModel(cloudTrailModel),
	"eventbridge":   newModel(eventBridgeModel),
}

// noModel is that of types which are not the SDK's: records have such.
var noModel = &model{}

func newModel(text []byte) *model {
	m := &model{sensitive: map[string]bool{}}
	if err := json.Unmarshal(text, m); err != nil {
		panic("wire: a model is not valid: " + err.Error())
	}
	for _, name := range m.Sensitive {
		m.sensitive[name] = true
	}
	return m
}

// modelOf is the model of the service whose SDK package t is of.
func modelOf(t reflect.Type) *model {
	const sdk = "github.com/aws/aws-sdk-go-v2/service/"
	if pkg, ok := strings.CutPrefix(t.PkgPath(), sdk); ok {
		if m := models[path.Base(strings.TrimSuffix(pkg, "/types"))]; m != nil {
			return m
		}
	}
	return noModel
}

// secrets are members whose values are repeated neither in an error message nor in
// an audit record, beside those that a model marks as sensitive: whoever has one
// can use it in another's name. Blobs are left out anyway.
var secrets = map[string]bool{
	"GrantToken":                       true,
	"GrantTokens":                      true,
	"XksProxyAuthenticationCredential": true,

	"SecretAccessKey":     true,
	"SessionToken":        true,
	"WebIdentityToken":    true,
	"Password":            true,
	"OldPassword":         true,
	"NewPassword":         true,
	"Base32StringSeed":    true,
	"QRCodePNG":           true,
	"AuthenticationCode1": true,
	"AuthenticationCode2": true,
	"TokenCode":           true,
	"EncodedMessage":      true,
	"DecodedMessage":      true,

	"Detail": true, // of an event, whatever that is
}

// secret tells whether a member of the structure t is a secret.
func (m *model) secret(t reflect.Type, member string) bool {
	return secrets[member] || m.sensitive[member] || m.sensitive[t.Name()+"."+member]
}

// wireName is the name on the wire of a member of the structure t.
func (m *model) wireName(t reflect.Type, member string) string {
	if name, ok := m.Names[t.Name()+"."+member]; ok {
		return name
	}
	return member
}
