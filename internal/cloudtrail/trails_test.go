package cloudtrail_test

import (
	"bytes"
	"compress/gzip"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/organizations"

	"github.com/kagimori/kagimori/internal/apitest"
	"github.com/kagimori/kagimori/kagimoritest"
)

// bucket is a server that delivers into a directory with one bucket, "audit".
type bucket struct {
	*kagimoritest.Server
	t   testing.TB
	dir string
}

func startWithBucket(t testing.TB) *bucket {
	dir := t.TempDir()
	b := &bucket{t: t, dir: filepath.Join(dir, "audit")}
	if err := os.Mkdir(b.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	b.Server = kagimoritest.Start(t, kagimoritest.Buckets(dir))
	return b
}

func (b *bucket) trail(c kagimoritest.Caller, name string, change ...func(*cloudtrail.CreateTrailInput)) string {
	b.t.Helper()
	in := &cloudtrail.CreateTrailInput{Name: &name, S3BucketName: aws.String("audit"), EnableLogFileValidation: aws.Bool(true)}
	for _, fn := range change {
		fn(in)
	}
	out := apitest.Must[*cloudtrail.CreateTrailOutput](b.t)(c.CloudTrail(region).CreateTrail(ctx, in))
	apitest.Must[*cloudtrail.StartLoggingOutput](b.t)(c.CloudTrail(region).StartLogging(ctx, &cloudtrail.StartLoggingInput{Name: &name}))
	return *out.TrailARN
}

// keys are the objects in the bucket.
func (b *bucket) keys() (keys []string) {
	b.t.Helper()
	err := filepath.WalkDir(b.dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !strings.HasSuffix(path, ".new") && !strings.HasSuffix(path, ".metadata.json") {
			key, _ := filepath.Rel(b.dir, path)
			keys = append(keys, filepath.ToSlash(key))
		}
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return keys
}

func (b *bucket) read(key string) []byte {
	b.t.Helper()
	f, err := os.Open(filepath.Join(b.dir, key))
	if err != nil {
		b.t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		b.t.Fatal(err)
	}
	content, err := io.ReadAll(z)
	if err != nil {
		b.t.Fatal(err)
	}
	return content
}

// events are those in log files, by their ids, and how often each is there.
func (b *bucket) events(match string) (records map[string]map[string]any, times map[string]int) {
	b.t.Helper()
	records, times = map[string]map[string]any{}, map[string]int{}
	for _, key := range b.keys() {
		if !strings.Contains(key, "/CloudTrail/") || !strings.Contains(key, match) {
			continue
		}
		var file struct{ Records []map[string]any }
		if err := json.Unmarshal(b.read(key), &file); err != nil {
			b.t.Fatalf("%s: %v", key, err)
		}
		for _, r := range file.Records {
			id := r["eventID"].(string)
			records[id] = r
			times[id]++
		}
	}
	return records, times
}

// until moves the clock by small steps until something is so.
func (b *bucket) until(what string, done func() bool) {
	b.t.Helper()
	for range 2000 {
		if done() {
			return
		}
		b.Advance(time.Second)
		time.Sleep(5 * time.Millisecond)
	}
	b.t.Fatalf("not %s after a long time; the bucket has %q", what, b.keys())
}

// delivered waits until an event of each of the names is in the bucket.
func (b *bucket) delivered(match string, names ...string) {
	b.t.Helper()
	b.until(fmt.Sprint("delivered: ", names), func() bool {
		records, _ := b.events(match)
		left := slices.Clone(names)
		for _, r := range records {
			left = slices.DeleteFunc(left, func(n string) bool { return n == r["eventName"] })
		}
		return len(left) == 0
	})
}

// TestTrails is the life of a trail.
func TestTrails(t *testing.T) {
	b := startWithBucket(t)
	root, ct := b.Root(), b.Root().CloudTrail(region)
	arn := "arn:aws:cloudtrail:" + region + ":" + b.Account + ":trail/main"
	made := apitest.Must[*cloudtrail.CreateTrailOutput](t)(ct.CreateTrail(ctx, &cloudtrail.CreateTrailInput{Name: aws.String("main"), S3BucketName: aws.String("audit"), S3KeyPrefix: aws.String("logs"),
		TagsList: []types.Tag{{Key: aws.String("team"), Value: aws.String("監査")}}}))
	if *made.TrailARN != arn || *made.Name != "main" || *made.S3BucketName != "audit" || *made.S3KeyPrefix != "logs" || !*made.IncludeGlobalServiceEvents || *made.IsMultiRegionTrail || *made.LogFileValidationEnabled || *made.IsOrganizationTrail {
		t.Errorf("CreateTrail: %+v", made)
	}
	status := func() *cloudtrail.GetTrailStatusOutput {
		t.Helper()
		return apitest.Must[*cloudtrail.GetTrailStatusOutput](t)(ct.GetTrailStatus(ctx, &cloudtrail.GetTrailStatusInput{Name: &arn}))
	}
	if st := status(); *st.IsLogging || st.StartLoggingTime != nil || *st.TimeLoggingStarted != "" {
		t.Errorf("before: %+v", st)
	}
	key := apitest.Must[*kms.CreateKeyOutput](t)(root.KMS(region).CreateKey(ctx, &kms.CreateKeyInput{})).KeyMetadata
	apitest.Must[*cloudtrail.StartLoggingOutput](t)(ct.StartLogging(ctx, &cloudtrail.StartLoggingInput{Name: &arn}))
	started := b.Now()
	encrypt := func() {
		t.Helper()
		apitest.Must[*kms.EncryptOutput](t)(root.KMS(region).Encrypt(ctx, &kms.EncryptInput{KeyId: key.KeyId, Plaintext: []byte("x")}))
	}
	encrypt()
	apitest.Must[*kms.CreateKeyOutput](t)(root.KMS("us-east-1").CreateKey(ctx, &kms.CreateKeyInput{Description: aws.String("elsewhere")}))
	user(t, b.Server, "alice", "ec2:*")
	b.delivered("logs/AWSLogs/"+b.Account+"/CloudTrail/"+region+"/2026/01/01/"+b.Account+"_CloudTrail_"+region+"_20260101T00", "StartLogging", "Encrypt")
	b.delivered("logs/AWSLogs/"+b.Account+"/CloudTrail/us-east-1/", "CreateUser")
	records, _ := b.events("")
	ours := map[string]map[string]any{}
	for _, r := range b.Records() {
		ours[r["eventID"].(string)] = r
	}
	for id, r := range records {
		if fmt.Sprint(r) != fmt.Sprint(ours[id]) {
			t.Errorf("delivered: %v, recorded: %v", r, ours[id])
		}
		if r["eventName"] == "CreateKey" {
			t.Errorf("an event before the start, or of another Region: %v", r)
		}
	}
	for _, k := range b.keys() {
		if !regexp.MustCompile(`_20260101T\d{4}Z_[A-Z0-9]{16}\.json\.gz$`).MatchString(k) {
			t.Errorf("an object is called %s", k)
		}
	}
	if st := status(); !*st.IsLogging || !st.StartLoggingTime.Equal(started) || st.LatestDeliveryTime == nil || st.LatestDeliveryError != nil || st.LatestDigestDeliveryTime != nil {
		t.Errorf("while it logs: %+v", st)
	}

	// Where it can be seen.
	describe := func(c kagimoritest.Caller, region string, in cloudtrail.DescribeTrailsInput) []types.Trail {
		t.Helper()
		return apitest.Must[*cloudtrail.DescribeTrailsOutput](t)(c.CloudTrail(region).DescribeTrails(ctx, &in)).TrailList
	}
	if got := describe(root, region, cloudtrail.DescribeTrailsInput{}); len(got) != 1 || *got[0].HomeRegion != region || *got[0].HasCustomEventSelectors {
		t.Errorf("DescribeTrails: %+v", got)
	}
	if got := describe(root, "us-east-1", cloudtrail.DescribeTrailsInput{}); len(got) != 0 {
		t.Errorf("in another Region: %+v", got)
	}
	apitest.Must[*cloudtrail.UpdateTrailOutput](t)(ct.UpdateTrail(ctx, &cloudtrail.UpdateTrailInput{Name: aws.String("main"), IsMultiRegionTrail: aws.Bool(true), S3KeyPrefix: aws.String("all")}))
	if got := describe(root, "us-east-1", cloudtrail.DescribeTrailsInput{}); len(got) != 1 || !*got[0].IsMultiRegionTrail || *got[0].S3KeyPrefix != "all" {
		t.Errorf("the shadow of a trail of all Regions: %+v", got)
	}
	if got := describe(root, "us-east-1", cloudtrail.DescribeTrailsInput{IncludeShadowTrails: aws.Bool(false)}); len(got) != 0 {
		t.Errorf("without shadows: %+v", got)
	}
	if got := describe(root, region, cloudtrail.DescribeTrailsInput{TrailNameList: []string{arn, "other"}}); len(got) != 1 {
		t.Errorf("by name: %+v", got)
	}
	if got := apitest.Must[*cloudtrail.GetTrailOutput](t)(ct.GetTrail(ctx, &cloudtrail.GetTrailInput{Name: aws.String("main")})).Trail; *got.TrailARN != arn {
		t.Errorf("GetTrail: %+v", got)
	}
	if got := apitest.Must[*cloudtrail.ListTrailsOutput](t)(root.CloudTrail("us-east-1").ListTrails(ctx, &cloudtrail.ListTrailsInput{})).Trails; len(got) != 1 || *got[0].TrailARN != arn {
		t.Errorf("ListTrails: %+v", got)
	}
	apitest.Must[*kms.CreateKeyOutput](t)(root.KMS("us-east-1").CreateKey(ctx, &kms.CreateKeyInput{Description: aws.String("everywhere")}))
	b.delivered("all/AWSLogs/"+b.Account+"/CloudTrail/us-east-1/", "CreateKey")

	// Tags.
	apitest.Must[*cloudtrail.AddTagsOutput](t)(ct.AddTags(ctx, &cloudtrail.AddTagsInput{ResourceId: &arn, TagsList: []types.Tag{{Key: aws.String("a"), Value: aws.String("1")}, {Key: aws.String("team"), Value: aws.String("x")}}}))
	apitest.Must[*cloudtrail.RemoveTagsOutput](t)(ct.RemoveTags(ctx, &cloudtrail.RemoveTagsInput{ResourceId: &arn, TagsList: []types.Tag{{Key: aws.String("a")}}}))
	tags := apitest.Must[*cloudtrail.ListTagsOutput](t)(ct.ListTags(ctx, &cloudtrail.ListTagsInput{ResourceIdList: []string{arn}})).ResourceTagList
	if len(tags) != 1 || len(tags[0].TagsList) != 1 || *tags[0].TagsList[0].Value != "x" {
		t.Errorf("tags: %+v", tags)
	}

	// Stopped, it delivers what there was until then, and goes on with what comes later.
	encrypt()
	apitest.Must[*cloudtrail.StopLoggingOutput](t)(ct.StopLogging(ctx, &cloudtrail.StopLoggingInput{Name: &arn}))
	apitest.Must[*kms.DisableKeyOutput](t)(root.KMS(region).DisableKey(ctx, &kms.DisableKeyInput{KeyId: key.KeyId}))
	b.until("both uses", func() bool {
		records, _ := b.events("")
		uses := 0
		for _, r := range records {
			if r["eventName"] == "Encrypt" {
				uses++
			}
		}
		return uses == 2
	})
	if st := status(); *st.IsLogging || !st.StopLoggingTime.Equal(lastOf(b, "StopLogging")) {
		t.Errorf("stopped: %+v", st)
	}
	b.Advance(10 * time.Minute)
	apitest.Must[*cloudtrail.StartLoggingOutput](t)(ct.StartLogging(ctx, &cloudtrail.StartLoggingInput{Name: &arn}))
	apitest.Must[*kms.EnableKeyOutput](t)(root.KMS(region).EnableKey(ctx, &kms.EnableKeyInput{KeyId: key.KeyId}))
	// Stopped and started again at once, before it is at its end.
	apitest.Must[*cloudtrail.StopLoggingOutput](t)(ct.StopLogging(ctx, &cloudtrail.StopLoggingInput{Name: &arn}))
	apitest.Must[*kms.DisableKeyOutput](t)(root.KMS(region).DisableKey(ctx, &kms.DisableKeyInput{KeyId: key.KeyId}))
	apitest.Must[*cloudtrail.StartLoggingOutput](t)(ct.StartLogging(ctx, &cloudtrail.StartLoggingInput{Name: &arn}))
	apitest.Must[*kms.TagResourceOutput](t)(root.KMS(region).TagResource(ctx, &kms.TagResourceInput{KeyId: key.KeyId, Tags: []kmstypes.Tag{{TagKey: aws.String("a"), TagValue: aws.String("b")}}}))
	b.delivered("", "EnableKey", "TagResource")
	records, times := b.events("")
	for id, n := range times {
		if n != 1 {
			t.Errorf("%v was delivered %d times", records[id], n)
		}
		if records[id]["eventName"] == "DisableKey" {
			t.Error("what was done while it was stopped was delivered")
		}
	}
	apitest.Must[*cloudtrail.DeleteTrailOutput](t)(ct.DeleteTrail(ctx, &cloudtrail.DeleteTrailInput{Name: &arn}))
	_, err := ct.GetTrail(ctx, &cloudtrail.GetTrailInput{Name: aws.String("main")})
	apitest.WantError(t, err, "TrailNotFoundException", "Unknown trail: "+arn+" for the user: "+b.Account)
}

// lastOf is the time of the last event of a name.
func lastOf(b *bucket, name string) (at time.Time) {
	for _, r := range b.Records() {
		if r["eventName"] == name {
			at, _ = time.Parse(time.RFC3339, r["eventTime"].(string))
		}
	}
	return at
}

func TestTrailMistakes(t *testing.T) {
	b := startWithBucket(t)
	ct := b.Root().CloudTrail(region)
	good := func() *cloudtrail.CreateTrailInput {
		return &cloudtrail.CreateTrailInput{Name: aws.String("new"), S3BucketName: aws.String("audit")}
	}
	for code, change := range map[string]func(*cloudtrail.CreateTrailInput){
		"S3BucketDoesNotExistException": func(in *cloudtrail.CreateTrailInput) { in.S3BucketName = aws.String("nothing") },
		"InvalidS3BucketNameException":  func(in *cloudtrail.CreateTrailInput) { in.S3BucketName = aws.String("../audit") },
		"InvalidS3PrefixException":      func(in *cloudtrail.CreateTrailInput) { in.S3KeyPrefix = aws.String("a/../../../b") },
		"InvalidTrailNameException":     func(in *cloudtrail.CreateTrailInput) { in.Name = aws.String("a--b") },
		"InvalidParameterCombinationException": func(in *cloudtrail.CreateTrailInput) {
			in.IsMultiRegionTrail, in.IncludeGlobalServiceEvents = aws.Bool(true), aws.Bool(false)
		},
		"InvalidTagParameterException":  func(in *cloudtrail.CreateTrailInput) { in.TagsList = []types.Tag{{Key: aws.String("AWS:x")}} },
		"UnsupportedOperationException": func(in *cloudtrail.CreateTrailInput) { in.SnsTopicName = aws.String("topic") },
	} {
		in := good()
		change(in)
		_, err := ct.CreateTrail(ctx, in)
		apitest.WantError(t, err, code)
	}
	for i := range 5 {
		in := good()
		in.Name = aws.String(fmt.Sprint("trail", i))
		apitest.Must[*cloudtrail.CreateTrailOutput](t)(ct.CreateTrail(ctx, in))
		if i == 0 {
			_, err := ct.CreateTrail(ctx, in)
			apitest.WantError(t, err, "TrailAlreadyExistsException", "Trail trail0 already exists for customer: "+b.Account)
		}
	}
	_, err := ct.CreateTrail(ctx, good())
	apitest.WantError(t, err, "MaximumNumberOfTrailsExceededException")
	start := func(c kagimoritest.Caller, region, name string) error {
		_, err := c.CloudTrail(region).StartLogging(ctx, &cloudtrail.StartLoggingInput{Name: &name})
		return err
	}
	apitest.WantError(t, start(b.Root(), region, "trail9"), "TrailNotFoundException")
	apitest.WantError(t, start(b.Root(), region, "arn:aws:cloudtrail:x"), "CloudTrailARNInvalidException")
	apitest.WantError(t, start(b.Root(), region, "arn:aws:cloudtrail:"+region+":999999999999:trail/trail0"), "TrailNotFoundException")
	apitest.WantError(t, start(b.Root(), "us-east-1", "arn:aws:cloudtrail:"+region+":"+b.Account+":trail/trail0"), "InvalidHomeRegionException")
	apitest.WantError(t, start(user(t, b.Server, "bob", "cloudtrail:StartLogging"), region, "trail0"), "AccessDeniedException")
	for _, in := range []cloudtrail.PutEventSelectorsInput{
		{},
		{EventSelectors: slices.Repeat([]types.EventSelector{{}}, 6)},
		{EventSelectors: []types.EventSelector{{ExcludeManagementEventSources: []string{"iam.amazonaws.com"}}}},
		{AdvancedEventSelectors: []types.AdvancedEventSelector{{FieldSelectors: []types.AdvancedFieldSelector{{Field: aws.String("eventName"), Equals: []string{"x"}}}}}},
		{AdvancedEventSelectors: []types.AdvancedEventSelector{{FieldSelectors: []types.AdvancedFieldSelector{{Field: aws.String("resources.ARN"), Equals: []string{"x"}}}}}},
		{AdvancedEventSelectors: []types.AdvancedEventSelector{{FieldSelectors: []types.AdvancedFieldSelector{{Field: aws.String("eventCategory")}}}}},
	} {
		in.TrailName = aws.String("trail0")
		_, err := ct.PutEventSelectors(ctx, &in)
		apitest.WantError(t, err, "InvalidEventSelectorsException")
	}

	none := kagimoritest.Start(t)
	_, err = none.Root().CloudTrail(region).CreateTrail(ctx, good())
	apitest.WantError(t, err, "S3BucketDoesNotExistException")
}

// TestSelectors has trails deliver a part of the events.
func TestSelectors(t *testing.T) {
	equals := func(field string, values ...string) types.AdvancedFieldSelector {
		return types.AdvancedFieldSelector{Field: &field, Equals: values}
	}
	category := equals("eventCategory", "Management")
	for name, c := range map[string]struct {
		in   cloudtrail.PutEventSelectorsInput
		want string
	}{
		"reads":  {cloudtrail.PutEventSelectorsInput{EventSelectors: []types.EventSelector{{ReadWriteType: types.ReadWriteTypeReadOnly}}}, "Encrypt GetTrail"},
		"writes": {cloudtrail.PutEventSelectorsInput{EventSelectors: []types.EventSelector{{ReadWriteType: types.ReadWriteTypeWriteOnly}}}, "CreateKey PutEventSelectors"},
		"no kms": {cloudtrail.PutEventSelectorsInput{EventSelectors: []types.EventSelector{{ExcludeManagementEventSources: []string{"kms.amazonaws.com"}}}}, "GetTrail PutEventSelectors"},
		"none":   {cloudtrail.PutEventSelectorsInput{EventSelectors: []types.EventSelector{{IncludeManagementEvents: aws.Bool(false)}}}, ""},
		"advanced": {cloudtrail.PutEventSelectorsInput{AdvancedEventSelectors: []types.AdvancedEventSelector{
			{FieldSelectors: []types.AdvancedFieldSelector{category, equals("readOnly", "true"), {Field: aws.String("eventSource"), NotEquals: []string{"kms.amazonaws.com"}}}},
			{FieldSelectors: []types.AdvancedFieldSelector{category, {Field: aws.String("eventName"), StartsWith: []string{"Create"}}, {Field: aws.String("userIdentity.arn"), EndsWith: []string{":root"}}, equals("eventType", "AwsApiCall")}},
		}}, "CreateKey GetTrail"},
	} {
		t.Run(name, func(t *testing.T) {
			b := startWithBucket(t)
			ct := b.Root().CloudTrail(region)
			b.trail(b.Root(), "main")
			c.in.TrailName = aws.String("main")
			apitest.Must[*cloudtrail.PutEventSelectorsOutput](t)(ct.PutEventSelectors(ctx, &c.in))
			got := apitest.Must[*cloudtrail.GetEventSelectorsOutput](t)(ct.GetEventSelectors(ctx, &cloudtrail.GetEventSelectorsInput{TrailName: aws.String("main")}))
			if len(got.EventSelectors) != len(c.in.EventSelectors) || len(got.AdvancedEventSelectors) != len(c.in.AdvancedEventSelectors) {
				t.Errorf("GetEventSelectors: %+v", got)
			}
			key := apitest.Must[*kms.CreateKeyOutput](t)(b.Root().KMS(region).CreateKey(ctx, &kms.CreateKeyInput{})).KeyMetadata
			apitest.Must[*kms.EncryptOutput](t)(b.Root().KMS(region).Encrypt(ctx, &kms.EncryptInput{KeyId: key.KeyId, Plaintext: []byte("x")}))
			apitest.Must[*cloudtrail.GetTrailOutput](t)(ct.GetTrail(ctx, &cloudtrail.GetTrailInput{Name: aws.String("main")}))
			// With the end, all is delivered that will be.
			apitest.Must[*cloudtrail.StopLoggingOutput](t)(ct.StopLogging(ctx, &cloudtrail.StopLoggingInput{Name: aws.String("main")}))
			b.until("ended", func() bool {
				return slices.ContainsFunc(b.keys(), func(k string) bool { return strings.Contains(k, "/CloudTrail-Digest/") })
			})
			records, _ := b.events("")
			names := map[string]bool{}
			for _, r := range records {
				names[r["eventName"].(string)] = true
			}
			delete(names, "StartLogging") // was before the selectors
			delete(names, "GetEventSelectors")
			var list []string
			for n := range names {
				list = append(list, n)
			}
			slices.Sort(list)
			if got := strings.Join(list, " "); got != c.want && !(name == "none" && got == "") {
				t.Errorf("delivered: %s, want %s", got, c.want)
			}
		})
	}
}

// TestOrganizationTrail has a trail deliver the events of all accounts.
func TestOrganizationTrail(t *testing.T) {
	b := startWithBucket(t)
	admin := user(t, b.Server, "admin", "ec2:*")
	out := apitest.Must[*organizations.CreateAccountOutput](t)(b.Root().Organizations().CreateAccount(ctx, &organizations.CreateAccountInput{
		AccountName: aws.String("member"), Email: aws.String("member@example.com")}))
	id := *out.CreateAccountStatus.AccountId
	member := admin.AssumeRole("arn:aws:iam::"+id+":role/OrganizationAccountAccessRole", "setup")
	arn := b.trail(admin, "all", func(in *cloudtrail.CreateTrailInput) { in.IsOrganizationTrail = aws.Bool(true) })
	apitest.Must[*kms.CreateKeyOutput](t)(member.KMS(region).CreateKey(ctx, &kms.CreateKeyInput{}))
	org := *apitest.Must[*organizations.DescribeOrganizationOutput](t)(b.Root().Organizations().DescribeOrganization(ctx, &organizations.DescribeOrganizationInput{})).Organization.Id
	b.delivered("AWSLogs/"+org+"/"+id+"/CloudTrail/"+region+"/", "CreateKey")
	b.delivered("AWSLogs/"+org+"/"+b.Account+"/CloudTrail/"+region+"/", "StartLogging")

	if got := apitest.Must[*cloudtrail.DescribeTrailsOutput](t)(member.CloudTrail(region).DescribeTrails(ctx, &cloudtrail.DescribeTrailsInput{})).TrailList; len(got) != 1 || *got[0].TrailARN != arn {
		t.Errorf("the member sees %+v", got)
	}
	_, err := member.CloudTrail(region).StopLogging(ctx, &cloudtrail.StopLoggingInput{Name: &arn})
	apitest.WantError(t, err, "TrailNotFoundException")
	_, err = member.CloudTrail(region).CreateTrail(ctx, &cloudtrail.CreateTrailInput{Name: aws.String("mine"), S3BucketName: aws.String("audit"), IsOrganizationTrail: aws.Bool(true)})
	apitest.WantError(t, err, "NotOrganizationMasterAccountException")
}

// TestDigests checks digest files by what is documented of them, over hours, a restart, a
// time when the server was down and a stop.
func TestDigests(t *testing.T) {
	b := startWithBucket(t)
	ct := b.Root().CloudTrail(region)
	b.trail(b.Root(), "main", func(in *cloudtrail.CreateTrailInput) { in.IsMultiRegionTrail = aws.Bool(true) })
	digests := func(region string) (keys []string) {
		for _, k := range b.keys() {
			if strings.Contains(k, "/CloudTrail-Digest/"+region+"/") {
				keys = append(keys, k)
			}
		}
		slices.Sort(keys)
		return keys
	}
	wait := func(region string, n int) {
		t.Helper()
		b.Advance(time.Duration(n-len(digests(region))) * time.Hour)
		b.until(fmt.Sprint(n, " digests"), func() bool { return len(digests(region)) >= n })
	}
	use := func(region string) {
		apitest.Must[*kms.CreateKeyOutput](t)(b.Root().KMS(region).CreateKey(ctx, &kms.CreateKeyInput{}))
		n := len(b.keys())
		b.until("delivered", func() bool { return len(b.keys()) > n })
	}
	use(region)
	use(region)
	wait(region, 1)
	use("us-east-1")
	wait(region, 3)
	wait("us-east-1", 2)
	b.Stop()
	b.Advance(3 * time.Hour)
	b.Open()
	wait(region, 6)
	use(region)
	apitest.Must[*cloudtrail.StopLoggingOutput](t)(b.Root().CloudTrail(region).StopLogging(ctx, &cloudtrail.StopLoggingInput{Name: aws.String("main")}))
	last := func(region string) bool { // those before are on the hour
		all := digests(region)
		return len(all) > 0 && !strings.HasSuffix(all[len(all)-1], "0000Z.json.gz")
	}
	b.until("the last digests", func() bool { return last(region) && last("us-east-1") })

	listed := map[string]bool{}
	for _, region := range []string{region, "us-east-1"} {
		keys := apitest.Must[*cloudtrail.ListPublicKeysOutput](t)(b.Root().CloudTrail(region).ListPublicKeys(ctx, &cloudtrail.ListPublicKeysInput{})).PublicKeyList
		if len(keys) != 1 {
			t.Fatalf("%s has the keys %+v", region, keys)
		}
		public, err := x509.ParsePKCS1PublicKey(keys[0].Value)
		if err != nil {
			t.Fatal(err)
		}
		previous, previousContent := map[string]any{}, []byte(nil)
		var previousKey, previousSignature string
		for i, k := range digests(region) {
			content := b.read(k)
			var d map[string]any
			if err := json.Unmarshal(content, &d); err != nil {
				t.Fatal(err)
			}
			var metadata map[string]string
			raw, err := os.ReadFile(filepath.Join(b.dir, k+".metadata.json"))
			if err == nil {
				err = json.Unmarshal(raw, &metadata)
			}
			if err != nil {
				t.Fatal(err)
			}
			signed := "null"
			if i > 0 {
				signed = previousSignature
				sum := sha256.Sum256(previousContent)
				if d["previousDigestS3Object"] != previousKey || d["previousDigestSignature"] != previousSignature || d["previousDigestHashValue"] != hex.EncodeToString(sum[:]) ||
					d["digestStartTime"] != previous["digestEndTime"] {
					t.Errorf("%s does not follow %s: %s", k, previousKey, content)
				}
			} else if d["previousDigestS3Object"] != nil || d["previousDigestSignature"] != nil || d["previousDigestHashValue"] != nil {
				t.Errorf("the first digest: %s", content)
			}
			hash := sha256.Sum256(content)
			sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%s/%s\n%x\n%s", d["digestEndTime"], "audit", k, hash, signed))
			signature, err := hex.DecodeString(metadata["signature"])
			if err != nil || rsa.VerifyPKCS1v15(public, crypto.SHA256, sum[:], signature) != nil || metadata["signature-algorithm"] != "SHA256withRSA" {
				t.Errorf("%s is signed with %v", k, metadata)
			}
			if d["digestPublicKeyFingerprint"] != *keys[0].Fingerprint || d["awsAccountId"] != b.Account || d["digestS3Object"] != k || d["digestS3Bucket"] != "audit" {
				t.Errorf("%s: %s", k, content)
			}
			for _, l := range d["logFiles"].([]any) {
				l := l.(map[string]any)
				log := b.read(l["s3Object"].(string))
				sum := sha256.Sum256(log)
				if l["hashValue"] != hex.EncodeToString(sum[:]) || listed[l["s3Object"].(string)] {
					t.Errorf("%s lists %v", k, l)
				}
				listed[l["s3Object"].(string)] = true
			}
			previous, previousContent, previousKey, previousSignature = d, content, k, metadata["signature"]
		}
	}
	for _, k := range b.keys() {
		if strings.Contains(k, "/CloudTrail/") && !listed[k] {
			t.Errorf("%s is in no digest", k)
		}
	}
	_, err := ct.ListPublicKeys(ctx, &cloudtrail.ListPublicKeysInput{StartTime: aws.Time(b.Now()), EndTime: aws.Time(b.Now().Add(-time.Hour))})
	apitest.WantError(t, err, "InvalidTimeRangeException")
	if got := apitest.Must[*cloudtrail.ListPublicKeysOutput](t)(ct.ListPublicKeys(ctx, &cloudtrail.ListPublicKeysInput{StartTime: aws.Time(b.Now().Add(-100 * 24 * time.Hour)), EndTime: aws.Time(b.Now().Add(-99 * 24 * time.Hour))})).PublicKeyList; len(got) != 0 {
		t.Errorf("keys of a time before there were any: %+v", got)
	}
	if !bytes.Contains(b.read(digests(region)[0]), []byte(`"logFiles":[{`)) {
		t.Error("the first digest lists no log file")
	}
}

// TestBucketFails takes the bucket away. What could not be delivered is when it is back,
// each event once, and calls do not wait meanwhile.
func TestBucketFails(t *testing.T) {
	b := startWithBucket(t)
	ct := b.Root().CloudTrail(region)
	b.trail(b.Root(), "main")
	b.delivered("", "StartLogging")
	if err := os.Rename(b.dir, b.dir+"-away"); err != nil {
		t.Fatal(err)
	}
	apitest.Must[*kms.CreateKeyOutput](t)(b.Root().KMS(region).CreateKey(ctx, &kms.CreateKeyInput{}))
	status := func() *cloudtrail.GetTrailStatusOutput {
		t.Helper()
		return apitest.Must[*cloudtrail.GetTrailStatusOutput](t)(ct.GetTrailStatus(ctx, &cloudtrail.GetTrailStatusInput{Name: aws.String("main")}))
	}
	for range 1000 {
		if st := status(); st.LatestDeliveryError != nil {
			if *st.LatestDeliveryError != "NoSuchBucket" {
				t.Errorf("the error is %s", *st.LatestDeliveryError)
			}
			break
		}
		b.Advance(10 * time.Second)
		time.Sleep(5 * time.Millisecond)
	}
	b.Restart()
	ct = b.Root().CloudTrail(region)
	if err := os.Rename(b.dir+"-away", b.dir); err != nil {
		t.Fatal(err)
	}
	b.delivered("", "StartLogging", "CreateKey")
	b.until("well", func() bool { st := status(); return st.LatestDeliveryError == nil })
	_, times := b.events("")
	for id, n := range times {
		if n != 1 {
			t.Errorf("%s was delivered %d times", id, n)
		}
	}
}

// TestBucketHangs delivers to a server that takes no object and never says so. Calls do not
// wait for it, and neither does the end.
func TestBucketHangs(t *testing.T) {
	reached, release := make(chan struct{}, 100), make(chan struct{})
	hangs := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			reached <- struct{}{}
			<-release
		}
	}))
	defer hangs.Close()
	defer close(release)
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	srv := kagimoritest.Start(t, kagimoritest.Buckets(hangs.URL))
	b := &bucket{Server: srv, t: t}
	b.trail(srv.Root(), "main")
	for {
		apitest.Must[*kms.CreateKeyOutput](t)(srv.KMS(region).CreateKey(ctx, &kms.CreateKeyInput{}))
		select {
		case <-reached:
		default:
			srv.Advance(time.Minute)
			continue
		}
		break
	}
	for range 100 {
		apitest.Must[*kms.CreateKeyOutput](t)(srv.KMS(region).CreateKey(ctx, &kms.CreateKeyInput{}))
	}
	srv.Stop()
}
